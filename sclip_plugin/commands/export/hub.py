"""Uploading an export to the Hugging Face Hub. Importing this module imports nothing heavy."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sclip_plugin.errors import DataError, UsageError

_SCHEME: Final = re.compile(r"hf://([A-Za-z0-9][\w.-]*)/([A-Za-z0-9][\w.-]*)", re.ASCII)


@dataclass(frozen=True)
class Destination:
    """A repository of models on the Hub.

    Attributes:
        owner: a user or an organisation.
        name: the repository's name.
    """

    owner: str
    name: str

    @property
    def repository(self) -> str:
        """What the Hub calls it, `owner/name`."""
        return f"{self.owner}/{self.name}"


def destination(text: str) -> Destination:
    """The repository that `--push` names.

    Raises:
        UsageError: the text is not `hf://USER/NAME`.
    """
    found = _SCHEME.fullmatch(text)
    if not found:
        raise UsageError(f"--push must be hf://USER/NAME, got {text!r}")
    return Destination(found[1], found[2])


def check_login() -> None:
    """Ask the Hub who we are, before any work is done.

    Raises:
        UsageError: huggingface_hub is missing, or there is no login.
        DataError: the Hub cannot be reached, or does not know the login.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise UsageError("--push needs huggingface_hub: pip install 'sclip-plugin[hub]'") from None
    if not huggingface_hub.get_token():
        raise UsageError("--push needs a login: run `hf auth login`, or set HF_TOKEN")
    with _told("the Hub"):
        huggingface_hub.HfApi().whoami()


def push(where: Destination, folder: Path, names: Sequence[str], private: bool) -> str:
    """Upload files of a folder, and make the repository where there is none.

    Args:
        where: the repository.
        folder: the folder.
        names: the files.
        private: whether a repository that is made is private.

    Returns:
        The address of the repository.

    Raises:
        DataError: the Hub refuses, or the connection fails. The folder stays as it is.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi(library_name="sclip-plugin")
    with _told(where.repository):
        address = api.create_repo(where.repository, private=private or None, repo_type="model", exist_ok=True)
        api.upload_folder(
            repo_id=where.repository,
            folder_path=str(folder),
            allow_patterns=list(names),
            commit_message="sclip export",
        )
    return str(address)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Tell the Hub's errors, and those of the connection, in one line."""
    from huggingface_hub.errors import HfHubHTTPError

    # its base class is that of the connection's errors too, in whichever HTTP library this version uses
    known: tuple[type[Exception], ...] = (OSError, ValueError)
    known += tuple(one for one in HfHubHTTPError.__bases__ if issubclass(one, Exception))
    try:
        yield
    except known as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise DataError(f"--push: {what}: {' '.join(lines[:2])[:300]}") from None
