"""The checks of one shard: which members make a sample, and which are faults."""

import tarfile

import pytest

from sclip_plugin.shards.layout import PAIRED
from sclip_plugin.shards.verification.parts import Part
from sclip_plugin.shards.verification.shard_checks import check_shard
from tests.helpers.conversion import image
from tests.helpers.formats import tar_of

NO_SAMPLE = "member that belongs to no sample"


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    return info


@pytest.mark.parametrize(
    "stranger",
    [
        ("README", b"text"),
        (".hidden", b"text"),
        special("folder", tarfile.DIRTYPE),
        special("folder.d", tarfile.DIRTYPE),
        special("link.jpg", tarfile.SYMTYPE),
        special("pipe.jpg", tarfile.FIFOTYPE),
    ],
    ids=lambda stranger: stranger[0] if isinstance(stranger, tuple) else stranger.name,
)
def test_a_member_without_a_sample_is_a_fault_and_splits_none(tmp_path, stranger):
    path = tmp_path / "000000.tar"
    tar_of(path, [("a.jpg", image(1)), stranger, ("a.txt", b"a tree"), ("b.jpg", image(2)), ("b.txt", b"a river")])
    found = check_shard(Part("paired", PAIRED, (path,)), path)
    assert (found.samples, found.captions, found.keys) == (2, 2, ["a", "b"])
    name = stranger[0] if isinstance(stranger, tuple) else stranger.name
    assert found.faults == [(NO_SAMPLE, f"{path}: {name}")]


def test_a_member_that_comes_twice_is_told_of_its_own_sample_only(tmp_path):
    path = tmp_path / "000000.tar"
    tar_of(path, [("a.jpg", image(1)), ("a.txt", b"one"), ("a.TXT", b"two"), ("b.jpg", image(2)), ("b.txt", b"three")])
    found = check_shard(Part("paired", PAIRED, (path,)), path)
    assert found.samples == 2
    assert found.faults == [("member occurs twice in its sample", f"{path}: a.TXT")]
