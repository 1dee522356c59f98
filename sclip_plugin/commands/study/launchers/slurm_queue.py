"""Which of the user's jobs wait or run, from `squeue`.

submitit asks `sacct` instead, which not every cluster has. A job that was preempted for good never counts as ended
there. What stands in the queue does neither.
"""

import os
import subprocess

from sclip_plugin.errors import DataError


def queued() -> dict[str, str]:
    """The state of each of the user's jobs that has not ended, by the job's identifier.

    Raises:
        DataError: squeue failed.
    """
    command = ["squeue", "--noheader", "--array", "--user", str(os.getuid()), "--format", "%i %T"]
    asked = subprocess.run(command, capture_output=True, text=True)
    if asked.returncode:
        said = asked.stderr.strip().splitlines() or [f"status {asked.returncode}"]
        raise DataError(f"squeue: {said[-1]}")
    return dict(line.split(maxsplit=1) for line in asked.stdout.splitlines() if len(line.split()) == 2)
