"""The files beside the shards: what is in them may be anything."""

import json

import pytest

from sclip_plugin.cli import main
from sclip_plugin.shards.verification.verification import verify
from tests.helpers.conversion import image
from tests.helpers.formats import tar_of


@pytest.fixture
def folder(tmp_path):
    """One pair in `paired/`, and a manifest that agrees with it."""
    tar_of(tmp_path / "paired/000000.tar", [("a.jpg", image(1)), ("a.txt", b"a tree")])
    (tmp_path / "paired/sizes.json").write_text('{"000000.tar": 1}')
    ((_, found),) = verify(tmp_path).findings.items()
    one = {"read": 1, "written": {"paired": 1}, "skipped": {}}
    content = {"shards": dict(found.shards), "counts": {"images": one, "captions": one}}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    return tmp_path


def test_a_manifest_that_agrees(folder):
    assert not verify(folder).faults.counts


def counts(**changed) -> dict:
    return {"read": 1, "written": {"paired": 1}, "skipped": {}} | changed


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"shards": {}},
        {"shards": [], "counts": {}},
        {"shards": {"paired/000000.tar": 1}, "counts": {"images": counts(), "captions": counts()}},
        {"shards": {}, "counts": {}},
        {"shards": {}, "counts": {"images": counts()}},
        {"shards": {}, "counts": {"images": counts(), "captions": {"read": 1}}},
        {"shards": {}, "counts": {"images": counts(written=[1]), "captions": counts()}},
        {"shards": {}, "counts": {"images": counts(read="1"), "captions": counts()}},
        {"shards": {}, "counts": {"images": counts(skipped={"reason": None}), "captions": counts()}},
    ],
)
def test_a_manifest_of_another_shape_is_a_fault(folder, capsys, content):
    (folder / "manifest.json").write_text(json.dumps(content))
    assert main(["verify", str(folder)]) == 1
    assert "fault: 1 (manifest cannot be read)" in capsys.readouterr().out


def test_json_nested_without_end_is_a_fault(folder, capsys):
    for name in ("manifest.json", "paired/sizes.json"):
        (folder / name).write_text("[" * 200_000)
    assert main(["verify", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "(manifest cannot be read)" in out
    assert "(sizes.json does not say what the shards hold)" in out
