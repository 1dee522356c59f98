"""A store whose failures are written down beforehand."""

import fsspec
import pytest

from sclip_plugin.storage import patience
from tests.helpers.stores import BUCKET, ScriptedFileSystem, s3_server, upload


@pytest.fixture
def store():
    """The class of `scripted://`, empty."""
    fsspec.register_implementation("scripted", ScriptedFileSystem, clobber=True)
    ScriptedFileSystem.forget()
    yield ScriptedFileSystem
    ScriptedFileSystem.forget()


@pytest.fixture
def pauses(monkeypatch):
    """The pauses that were made, none of which takes any time."""
    made = []
    monkeypatch.setattr(patience.time, "sleep", made.append)
    patience.take_troubles()
    return made


@pytest.fixture(scope="session")
def s3_endpoint(shards):
    """The endpoint of an S3 server that holds the `shards` of tests/conftest.py in `bucket/set`."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    with pytest.MonkeyPatch.context() as patch, s3_server() as endpoint:
        point_to(endpoint, patch)
        upload(shards, f"s3://{BUCKET}/set")
        yield endpoint


@pytest.fixture
def s3(s3_endpoint, monkeypatch):
    """The URL of these shards; the environment names their server, as users would name it."""
    point_to(s3_endpoint, monkeypatch)
    return f"s3://{BUCKET}/set"


def point_to(endpoint, patch):
    """Let this process and those that it starts find S3 at an endpoint."""
    patch.setenv("AWS_ENDPOINT_URL", endpoint)
    patch.setenv("AWS_ACCESS_KEY_ID", "key")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
