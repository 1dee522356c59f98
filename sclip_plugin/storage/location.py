"""A folder or file by path or by URL, with the methods of `pathlib.Path` that folders of shards need.

A library offers all of `pathlib` for URLs; the few methods here go through `patience`, which bounds and repeats every
request, and tell a listing from one request for each name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias

from sclip_plugin.storage import lease, objects
from sclip_plugin.storage.remote_file import RemoteFile
from sclip_plugin.storage.urls import WEB, is_url, plain, scheme


class Stat(NamedTuple):
    """As much of `os.stat_result` as is known of an object.

    Attributes:
        st_size: its length in bytes.
    """

    st_size: int


@dataclass(frozen=True, order=True)
class RemotePath:
    """Something in a store. Methods mean what those of `pathlib.Path` mean; they raise `OSError` and `StoreDown`.

    Attributes:
        url: where it is, without a slash at its end.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self.url}/{str(name).strip('/')}") if name not in ("", ".") else self

    @property
    def name(self) -> str:
        return self.url.partition("://")[2].rpartition("/")[2]

    @property
    def parent(self) -> "RemotePath":
        kind, _, rest = self.url.partition("://")
        return RemotePath(f"{kind}://{rest.rpartition('/')[0] or rest}")

    def resolve(self) -> "RemotePath":
        return self

    def relative_to(self, other: "RemotePath") -> PurePosixPath:
        if not self.url.startswith(f"{other.url}/"):
            raise ValueError(f"{self} is not below {other}")
        return PurePosixPath(self.url.removeprefix(f"{other.url}/"))

    def exists(self) -> bool:
        return objects.look(self.url) is not None

    def is_file(self) -> bool:
        found = objects.look(self.url)
        return found is not None and not found.folder

    def is_dir(self) -> bool:
        if scheme(self.url) in WEB:  # where a folder is a page of links
            return any(True for _ in self.entries())
        found = objects.look(self.url)
        return found is not None and found.folder

    def stat(self) -> Stat:
        return Stat(objects.size(self.url) or 0)

    def open(self) -> RemoteFile:
        return RemoteFile(self.url)

    def read_bytes(self) -> bytes:
        return objects.read(self.url)

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def unlink(self, missing_ok: bool = False) -> None:
        if not missing_ok and not self.exists():
            raise FileNotFoundError(f"{self.url}: no such object")
        lease.check(self.url)
        objects.remove(self.url)

    def iterdir(self) -> Iterator["RemotePath"]:
        """What is in the folder; nothing where there is no folder."""
        return (self / one.name for one in self.entries())

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """What matches; a listing for each folder that a wildcard looks into."""
        first, _, rest = pattern.partition("/")
        if not any(sign in first for sign in "*?["):
            found = [self / first] if rest or (self / first).exists() else []
        else:
            found = [self / one.name for one in self.entries() if fnmatchcase(one.name, first)]
        for one in found:
            if rest:
                yield from one.glob(rest)
            else:
                yield one

    def entries(self) -> list[objects.Entry]:
        """What is in the folder, with sizes; nothing where there is no folder."""
        try:
            return objects.listed(self.url)
        except (FileNotFoundError, NotADirectoryError):
            return []


Location: TypeAlias = Path | RemotePath


def location(text: str) -> Location:
    """What a path or a URL names; a `file://` URL is a path."""
    text = plain(text)
    return RemotePath(text.rstrip("/")) if is_url(text) else Path(text)


def tars(folder: Location) -> list[Location]:
    """The `*.tar` in a folder, sorted by name; none where there is no folder."""
    return sorted(folder.glob("*.tar"), key=str)


def inside(path: Location, root: Location) -> str:
    """The name of something below a folder, relative to the folder."""
    if isinstance(path, RemotePath) and isinstance(root, RemotePath):
        return str(path.relative_to(root))
    return str(Path(str(path)).relative_to(str(root)))
