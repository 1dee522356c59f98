"""`tools/record_patch.py`: the hashes of a release and of its patched files."""

import dataclasses

from sclip_plugin.patches import releases
from tests.helpers.hosts import RELEASE, copy_host
from tools import record_patch as record


def test_record_describes_a_stock_tree_as_the_table_does(tmp_path):
    entry = record.describe(copy_host(tmp_path), RELEASE.patch)
    assert entry.stock == RELEASE.stock
    assert list(entry.patched.items()) == list(RELEASE.patched.items())
    known = releases.releases()
    assert record.merge(known, entry) == known
    assert record.merge([release for release in known if release != RELEASE], entry) == known
    later = dataclasses.replace(entry, versions=("3.10.0",))
    assert record.merge(known, later)[-1].versions == (*RELEASE.versions, "3.10.0")


def test_recording_a_version_again_takes_it_out_of_its_old_entry():
    old, *_ = releases.releases()
    again = dataclasses.replace(old, versions=("3.1.0",), patch="other.patch")
    table = [(release.versions, release.patch) for release in record.merge([old], again)]
    assert table == [(("3.0.0", "3.2.0"), old.patch), (("3.1.0",), "other.patch")]
    assert record.merge([again], dataclasses.replace(again, patch="third.patch"))[0].patch == "third.patch"
    assert len(record.merge([again], dataclasses.replace(again, patch="third.patch"))) == 1
