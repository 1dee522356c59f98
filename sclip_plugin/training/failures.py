"""What ends a run although no program is at fault: a dead reader, no memory, a full disk at a checkpoint, Ctrl-C.

The host lets such errors end its process with a traceback. In a run of the plugin they are told in one line.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from sclip_plugin.training.checkpoints import damage

WORKER_DIED = "DataLoader worker"  # PyTorch's own words, at the moment of the death or at the next batch
NO_MEMORY = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "out of memory")
LESS = "smaller --batch-size and --unpaired-batch-size need less, and so do fewer --workers"


def tell_in_one_line(wanted: Callable[[], bool]) -> None:
    """Let an uncaught error of these kinds end the process with one line instead of a traceback.

    Args:
        wanted: whether this is a run of the plugin; asked when there is an error.
    """
    if getattr(sys.excepthook, "of_sclip_plugin", False):
        return
    show = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        known = _interrupted(error) or explain(error) if wanted() else None
        if known is None:
            show(kind, error, trace)
        else:
            print(f"sclip_plugin: {known}", file=sys.stderr)

    hook.of_sclip_plugin = True  # type: ignore[attr-defined]
    sys.excepthook = hook


def _interrupted(error: BaseException) -> str | None:
    going_on = "interrupted; --resume goes on from the last checkpoint"
    return going_on if isinstance(error, KeyboardInterrupt) else None


def explain(error: BaseException) -> str | None:
    """One line for an error of these kinds; None for everything else. What is written of a checkpoint is removed."""
    if not isinstance(error, RuntimeError | MemoryError | OSError | EOFError):
        return None
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if lines[0].startswith(WORKER_DIED) or _hung_up(error):
        return f"a process that reads data died ({lines[0].strip(' .')}); if memory is short, fewer --workers need less"
    if isinstance(error, MemoryError):
        return f"no memory left ({lines[-1]}); {LESS}"
    found = next((line for line in lines if any(words in line for words in NO_MEMORY)), None)
    if found:
        return f"no memory left ({found.strip()}); {LESS}"
    return _unwritten(error, error.__traceback__)


def _hung_up(error: BaseException) -> bool:
    """Whether the way to a reader broke: it died while a batch was fetched, and is not known to be dead yet."""
    if not isinstance(error, OSError | EOFError):
        return False
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_globals.get("__name__") == "torch.utils.data.dataloader" and frame.f_code.co_name == "_try_get_data":
            return True  # what a living reader fails with is raised elsewhere, by `_process_data`
        trace = trace.tb_next
    return False


def _unwritten(error: BaseException, trace: TracebackType | None) -> str | None:
    """One line where the error comes from writing a checkpoint, of which nothing is left then."""
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_globals.get("__name__") == "torch.serialization" and frame.f_code.co_name == "save":
            path = frame.f_locals.get("f")
            if not isinstance(path, str):
                return None
            if os.path.isfile(path) and damage(path):
                with suppress(OSError):
                    os.unlink(path)
            reason = str(error.__context__ or error).strip().splitlines()[0]
            return f"{path}: the checkpoint could not be written ({reason}); is the disk full?"
        trace = trace.tb_next
    return None
