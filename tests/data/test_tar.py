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
