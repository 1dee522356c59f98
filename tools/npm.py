"""Packages of the npm registry, fetched by the npm client and unpacked."""

import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path


def fetch(package: str, folder: Path) -> Path:
    """Download and unpack a package once; returns its folder.

    Args:
        package: name and version, `emojibase-data@17.0.0` say.
        folder: where packages are kept.
    """
    name, _, version = package.rpartition("@")
    target = folder / f"{name.removeprefix('@').replace('/', '-')}-{version}"
    if not (target / "package.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder), package]
        name_of_file = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
        with tarfile.open(folder / name_of_file) as archive:
            archive.extractall(target, members=_below_package(archive), filter="data")
        (folder / name_of_file).unlink()
    return target


def _below_package(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members without the folder `package/` in which npm puts them."""
    for member in archive:
        member.name = member.name.partition("/")[2]
        if member.name:
            yield member
