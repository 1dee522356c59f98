"""What the processes of a DataLoader do about signals."""

import signal


def leave_interrupts_to_the_main_process(_worker: int) -> None:
    """For DataLoader's `worker_init_fn`: Ctrl-C reaches all processes of a terminal, and one of them answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
