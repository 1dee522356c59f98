"""What else takes shards by URL: the counts of a model card, the checkup's folder, a study's data, validation sets."""

import argparse

import fsspec
import pytest

from sclip_plugin.cli import main
from sclip_plugin.commands.checkup import _shards
from sclip_plugin.commands.export.facts import _data_row
from sclip_plugin.commands.study.fingerprint import fingerprint
from sclip_plugin.commands.study.spec import Arm
from sclip_plugin.commands.study.steps import arm_shards
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.names import named_folder
from sclip_plugin.evaluation.sets import is_retrieval_set
from sclip_plugin.training.run import _refuse_unknown_to_host
from tests.helpers.shards import write_shards
from tests.helpers.stores import upload


@pytest.fixture
def converted(store, tmp_path):
    """A converted set on the disk, and the same in a store."""
    assert (
        main(["convert", str(write_shards(tmp_path / "set", 30, 2, captions=True)), "--out", str(tmp_path / "a")]) == 0
    )
    upload(tmp_path / "a", "scripted://set/a")
    store.calls.clear()
    return tmp_path / "a", "scripted://set/a"


def test_a_model_card_counts_shards_in_a_store(converted):
    here, there = converted
    for part in ("paired", "val"):
        expected = _data_row(str(here / part), "pairs", "--train-data")
        assert _data_row(f"{there}/{part}", "pairs", "--train-data") == expected
        assert expected.images > 0
    some = _data_row(f"{there}/paired/{{000000..000000}}.tar", "pairs", "--train-data")
    assert some == _data_row(f"{here}/paired/{{000000..000000}}.tar", "pairs", "--train-data")


def test_the_checkup_takes_the_folder_of_a_set(converted, store):
    there = converted[1]
    words = {"train_data": None, "unpaired_data": None}
    with pytest.raises(DataError, match="SHARDS scripted://set/a: no folder unpaired/ there"):
        _shards(argparse.Namespace(shards=there, **words))
    store().pipe_file("/set/a/unpaired/0.tar", b"")
    paired, unpaired = _shards(argparse.Namespace(shards=f"{there}/", **words))
    assert paired.urls[0] == f"{there}/paired/000000.tar"
    assert unpaired.urls == [f"{there}/unpaired/0.tar"]


def test_a_study_takes_a_share_of_the_shards_in_a_store(store):
    for number in range(4):
        store().pipe_file(f"/set/paired/{number:06d}.tar", b"")
    arm = Arm("a", "a", {"train-data": "scripted://set/paired"}, paired_share=0.5)
    assert arm_shards(arm, "train-data") == "scripted://set/paired/{000000..000001}.tar"
    whole = Arm("a", "a", {"train-data": "scripted://set/paired"})
    assert arm_shards(whole, "train-data") == "scripted://set/paired/{000000..000003}.tar"
    named = Arm("a", "a", {"train-data": "scripted://set/paired/{000000..000001}.tar"})
    assert arm_shards(named, "train-data") == "scripted://set/paired/{000000..000001}.tar"


def test_a_study_sees_that_data_in_a_store_have_changed(converted, store):
    there = converted[1]
    before = fingerprint(f"{there}/paired")
    assert before == fingerprint(f"{there}/paired/")
    assert len(before) == 16
    store().pipe_file("/set/a/paired/000001.tar", b"more")
    after = fingerprint(f"{there}/paired")
    assert after != before
    store().pipe_file("/set/a/manifest.json", b"{}")
    assert fingerprint(f"{there}/paired") != after
    assert fingerprint("scripted://set/none") == fingerprint("https://example.org/x") == ""


def test_a_set_is_named_by_the_last_part_of_its_url():
    assert named_folder("s3://bucket/k=1/aid", "--zeroshot") == ("aid", "s3://bucket/k=1/aid")
    assert named_folder("mine=s3://bucket/aid", "--zeroshot") == ("mine", "s3://bucket/aid")


def test_validation_sets_are_told_from_shards(store):
    store().pipe_file("/set/val/dataset_type.txt", b"retrieval")
    store.calls.clear()
    assert is_retrieval_set("scripted://set/val")
    assert not is_retrieval_set("scripted://set/other")
    store.calls.clear()
    assert not any(
        map(is_retrieval_set, ("scripted://set/{0..1}.tar", "scripted://a::scripted://b", "scripted://0.tar"))
    )
    assert store.calls == {}


def test_shards_that_the_hosts_own_loader_cannot_open_are_refused():
    with pytest.raises(DataError, match=r"--val-data s3://b/0\.tar: no retrieval set .* opens no s3://"):
        _refuse_unknown_to_host("https://x/0.tar::s3://b/0.tar")
    _refuse_unknown_to_host("pipe:cat x::gs://b/0.tar::file:///x/0.tar::local/0.tar")


def test_the_store_of_fsspec_is_used_as_it_is_configured(store, monkeypatch):
    """Options of fsspec's own configuration reach the filesystem; there are no others."""
    seen = []
    monkeypatch.setitem(fsspec.config.conf, "scripted", {"token": "own"})
    monkeypatch.setattr(store, "__init__", lambda self, **options: seen.append(options))
    store.clear_instance_cache()
    from sclip_plugin.storage.urls import filesystem

    filesystem("scripted://set")
    store.clear_instance_cache()
    assert seen == [{"token": "own"}]
