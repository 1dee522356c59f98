"""Packages of Debian, fetched by apt and unpacked without root. Nothing is installed."""

import shutil
import subprocess
from pathlib import Path

from sclip_plugin.errors import DataError, UsageError


def fetch(name: str, version: str, folder: Path) -> Path:
    """Download and unpack a package once; returns the folder that stands for `/`.

    Args:
        name: the package, `openclipart-svg` say.
        version: its version as Debian writes it, with the epoch.
        folder: where packages are kept.

    Raises:
        UsageError: this machine has no `apt-get` or no `dpkg-deb`.
        DataError: apt does not know this version, or cannot download it.
    """
    target = folder / f"{name}-{version.replace(':', '-')}"
    if target.exists():
        return target
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise UsageError(f"{program} is not on this machine: {name} {version} is fetched on Debian or Ubuntu")
    aside = folder / f"{target.name}.part"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    _call(["apt-get", "download", f"{name}={version}"], aside, f"{name} {version}: apt-get download")
    archive = next(aside.glob("*.deb"))
    _call(["dpkg-deb", "-x", archive.name, "root"], aside, f"{archive.name}: dpkg-deb")
    (aside / "root").rename(target)
    shutil.rmtree(aside)
    return target


def _call(command: list[str], folder: Path, what: str) -> None:
    """Run a command in a folder.

    Raises:
        DataError: it fails; the message is the last line that it printed.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise DataError(f"{what}: {said[-1]} (`apt-get update` brings newer lists)")
