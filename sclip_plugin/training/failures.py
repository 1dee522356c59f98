"""What a failure inside the host's loop means for the user, where the machine is at fault and not a program."""

WORKER_DIED = "DataLoader worker"  # PyTorch's own words, at the moment of the death or at the next batch
LESS = "smaller --batch-size and --unpaired-batch-size need less, and so do fewer --workers"
NO_MEMORY = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "out of memory")


def explain(error: RuntimeError | MemoryError | OSError) -> str | None:
    """One line for a reader process that died and for a lack of memory; None for everything else."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if lines[0].startswith(WORKER_DIED):
        return f"a process that reads data died ({lines[0].strip(' .')}); if memory is short, fewer --workers need less"
    if isinstance(error, MemoryError):
        return f"no memory left ({lines[-1]}); {LESS}"
    found = next((line for line in lines if any(words in line for words in NO_MEMORY)), None)
    return f"no memory left ({found.strip()}); {LESS}" if found else None
