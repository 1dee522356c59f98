"""A Slurm of one machine, for tests: the commands that are called, as one script that goes by the name it is called by.

`install` writes `sbatch`, `srun`, `squeue`, `sacct`, `scancel` and `scontrol` into a folder. A job script runs in the
background, by a process of its own for each submission; what is known of a job is a file of its number beside them.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

COMMANDS = ("sbatch", "srun", "squeue", "sacct", "scancel", "scontrol")


def install(folder: Path) -> Path:
    """Write the commands into a folder, which is to stand first on PATH; returns the folder of the jobs' files."""
    (folder / "jobs").mkdir(parents=True)
    for name in COMMANDS:
        (folder / name).write_text(
            f'#!/bin/sh\nexec {sys.executable} {Path(__file__).resolve()} {name} {folder} "$@"\n'
        )
        (folder / name).chmod(0o755)
    return folder / "jobs"


def submissions(jobs: Path) -> list[str]:
    """The batch script of each submission so far."""
    return [path.read_text() for path in sorted(jobs.glob("*.sh"))]


def send(jobs: Path, job: str, number: int, state: str | None = None) -> None:
    """Send a signal to all processes of a running job; `state` is what it ends in then."""
    if state:
        (jobs / f"{job}.end").write_text(state)
    os.killpg(int((jobs / f"{job}.pid").read_text()), number)


def note(jobs: Path, job: str, state: str) -> None:
    """Say what state a job is in."""
    aside = jobs / f"{job}.aside"
    aside.write_text(state)
    aside.replace(jobs / f"{job}.state")


def states(jobs: Path) -> dict[str, str]:
    """The state of each job."""
    return {path.stem: path.read_text() for path in sorted(jobs.glob("*.state"))}


def sbatch(folder: Path, words: list[str]) -> None:
    jobs, text = folder / "jobs", Path(words[0]).read_text()
    if (folder / "refuse").exists():
        sys.exit("sbatch: error: Batch job submission failed: Invalid account")
    number = str(100 + len(submissions(jobs)))
    (jobs / f"{number}.sh").write_text(text)
    found = re.search(r"--array=0-(\d+)%(\d+)", text)
    names = [f"{number}_{n}" for n in range(int(found[1]) + 1)] if found else [number]
    for name in names:
        note(jobs, name, "PENDING")
    line = [sys.executable, __file__, "control", str(folder), str(jobs / f"{number}.sh"), found[2] if found else "1"]
    subprocess.Popen([*line, *names], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"Submitted batch job {number}")


def control(folder: Path, words: list[str]) -> None:
    """Run the jobs of one submission, so many at a time."""
    script, free = words[0], threading.Semaphore(int(words[1]))
    threads = [threading.Thread(target=element, args=(folder / "jobs", script, name, free)) for name in words[2:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def element(jobs: Path, script: str, name: str, free: threading.Semaphore) -> None:
    array, _, index = name.partition("_")
    known = {"SLURM_JOB_ID": name.replace("_", "00")}
    if index:
        known |= {"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": index}
    with free:
        again = True
        while again and not (jobs / f"{name}.end").exists():
            process = subprocess.Popen(
                ["bash", script],
                env={**os.environ, **known},
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),  # only tasks of srun are warned
            )
            (jobs / f"{name}.pid").write_text(str(process.pid))
            note(jobs, name, "RUNNING")
            status = process.wait()
            again = (jobs / f"{name}.requeue").exists()
            (jobs / f"{name}.requeue").unlink(missing_ok=True)
    end = jobs / f"{name}.end"
    note(jobs, name, end.read_text() if end.exists() else "FAILED" if status else "COMPLETED")


def srun(folder: Path, words: list[str]) -> None:
    assert words[0] == "--unbuffered"
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID", ""), os.environ.get("SLURM_ARRAY_TASK_ID", "")
    places = {"%A": array, "%a": index, "%j": os.environ["SLURM_JOB_ID"], "%t": "0"}
    files = {words[n]: re.sub("%.", lambda found: places[found[0]], words[n + 1]) for n in (1, 3)}
    with open(files["--output"], "a") as out, open(files["--error"], "a") as error:
        sys.exit(subprocess.run(words[5:], stdout=out, stderr=error).returncode)


def squeue(folder: Path, words: list[str]) -> None:
    assert {"--array", "--noheader"} <= set(words)
    busy = folder / "busy"  # a letter for each time that there is no answer
    if busy.exists() and busy.read_text():
        busy.write_text(busy.read_text()[1:])
        sys.exit("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    for name, state in states(folder / "jobs").items():
        if state in ("PENDING", "RUNNING"):
            print(name, state)


def sacct(folder: Path, words: list[str]) -> None:
    print("JobID|State|NodeList")
    wanted = [words[n + 1] for n, word in enumerate(words) if word == "-j"]
    for name, state in states(folder / "jobs").items():
        if name.partition("_")[0] in wanted:
            print(f"{name}|{state}|here")


def scancel(folder: Path, words: list[str]) -> None:
    jobs = folder / "jobs"
    for name, state in states(jobs).items():
        if name.partition("_")[0] in words or name in words:
            (jobs / f"{name}.end").write_text("CANCELLED by 0")
            if state == "RUNNING":
                send(jobs, name, signal.SIGKILL)


def scontrol(folder: Path, words: list[str]) -> None:
    assert words[0] == "requeue"
    note(folder / "jobs", words[1], "PENDING")
    (folder / "jobs" / f"{words[1]}.requeue").write_text(json.dumps(words))


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), sys.argv[3:])
