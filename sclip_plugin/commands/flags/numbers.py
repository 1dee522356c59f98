"""Numbers that flags take."""

from typing import Final

from sclip_plugin.errors import UsageError

MOST_WORKERS: Final = 1024  # ours: far more threads than help, and few enough for the system


def check_positive(flag: str, value: int | None) -> None:
    """Refuse a number below 1.

    Raises:
        UsageError: the number is given and below 1; the message names the flag.
    """
    if value is not None and value < 1:
        raise UsageError(f"{flag} must be at least 1, got {value}")


def check_workers(value: int | None) -> None:
    """Refuse a number of workers that no machine has.

    Raises:
        UsageError: the number is given and below 1, or above `MOST_WORKERS`.
    """
    check_positive("--workers", value)
    if value is not None and value > MOST_WORKERS:
        raise UsageError(f"--workers must be at most {MOST_WORKERS}, got {value}")
