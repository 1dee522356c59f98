"""Members equal what the standard library writes."""

import io
import tarfile

import pytest

from sclip_plugin.shards.tar_writer import END, member


@pytest.mark.parametrize(("name", "size"), [("a.jpg", 0), ("k.txt", 511), ("x" * 96 + ".png", 512), ("b.json", 70_000)])
def test_members_equal_tarfiles(name, size):
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    buffer = io.BytesIO()
    info = tarfile.TarInfo(name)
    info.size = size
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(data))
    ours = b"".join([*member(name, data), END])
    assert buffer.getvalue().startswith(ours)
    assert not any(buffer.getvalue()[len(ours) :])


@pytest.mark.parametrize("name", ["x" * 101, "été.jpg"])
def test_names_that_need_more_than_a_plain_header(name):
    with pytest.raises(ValueError):
        member(name, b"")
