"""Reading a tar that is damaged in the middle: what is lost is counted, never taken for the end."""

import tarfile
from collections import Counter

import pytest

from sclip_plugin.data.samples import read_samples
from tests.helpers.shards import write_tar


@pytest.fixture(params=["damaged header", "cut within a header"])
def broken(request, tmp_path):
    path = tmp_path / "x.tar"
    write_tar(path, [(f"k{n}.txt", b"text") for n in range(6)])
    with tarfile.open(path) as tar:
        at = tar.getmembers()[3].offset
    data = bytearray(path.read_bytes())
    if request.param == "damaged header":
        data[at : at + 30] = b"\xff" * 30
    else:
        del data[at + 100 :]
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("form", ["{}", "pipe:cat {}"])
@pytest.mark.parametrize(("stop", "lost"), [(None, 1), (6, 4)])
def test_what_stands_behind_the_damage_is_counted(broken, form, stop, lost):
    faults: Counter = Counter()
    found = [members["txt"] for _, members in read_samples(form.format(broken), 0, stop, faults)]
    assert found == [b"text"] * 2  # the third may miss what the damage took
    assert faults == {"unreadable shard": lost}


def header(name: str, size: bytes, kind: bytes = b"0") -> bytes:
    """One header block with a size field as given and a right checksum."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = size.ljust(12, b"\0")
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def base256(number: int) -> bytes:
    """A size in the binary form that GNU tar writes for what octal digits cannot hold."""
    return b"\x80" + number.to_bytes(11, "big") if number >= 0 else b"\xff" + (number + (1 << 88)).to_bytes(11, "big")


GOOD = header("a.txt", b"%011o" % 3) + b"one".ljust(512, b"\0")
HOSTILE = {
    "negative": header("b.txt", base256(-512)) + bytes(1024),
    "back to the start": header("b.txt", base256(-2048)) + bytes(1024),
    "beyond any file": header("b.txt", base256(10**25)) + bytes(1024),
    "beyond this file": header("b.txt", base256(1 << 40)) + bytes(1024),
    "long name without end": header("long", base256(1 << 40), b"L") + bytes(1024),
    "negative pax header": header("pax", base256(-1), b"x") + bytes(1024),
    "pax header that says a negative size": header("pax", b"%011o" % 12, b"x")
    + b"12 size=-99\n".ljust(512, b"\0")
    + header("b.txt", b"%011o" % 3)
    + b"two".ljust(512, b"\0"),
    "ten thousand long names": (header("long", b"%011o" % 2, b"L") + b"x".ljust(512, b"\0")) * 10_000,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("url", ["{}", "file:{}", "pipe:cat {}"])
@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_header_ends_the_shard_and_is_counted(hostile, url, tmp_path):
    """tarfile alone reads a negative size for ever, and takes other damage for the end of the archive."""
    path = tmp_path / "0.tar"
    path.write_bytes(GOOD + hostile + GOOD)
    faults = Counter()
    found = [members for _, members in read_samples(url.format(path), 0, None, faults)]
    assert found in ([], [{"txt": b"one"}])  # the sample before the fault may be lost with it, for it had no end
    assert faults["unreadable shard"] == 1
