"""Shards on a real S3 server: the loader with real worker processes, and the commands, against the same shards here."""

import asyncio
import gc
import json
import os
from collections import Counter
from multiprocessing import get_context

import pytest
import torch
from fsspec.asyn import get_loop, sync

from sclip_plugin.cli import main
from sclip_plugin.data.config import MixedConfig
from sclip_plugin.data.mixed import MixedLoader
from sclip_plugin.data.shard_list import ShardSet, expand
from sclip_plugin.errors import DataError
from sclip_plugin.storage import objects, patience, urls
from tests.evaluation.sets import model_with_weights
from tests.helpers.sets import write_classification_set, write_retrieval_set
from tests.helpers.stores import BUCKET, Weather, in_between, many_shards, upload
from tests.storage.conftest import point_to


def tensor(image):
    return torch.tensor(list(image.resize((2, 2)).tobytes()), dtype=torch.float)


def tokens(texts):
    return torch.tensor([[ord(letter) for letter in text.ljust(40)[:40]] for text in texts])


def epoch(paired, unpaired, workers):
    """(every batch of an epoch as numbers, counts)."""
    sets = [
        ShardSet.of(expand(pattern, flag)) for pattern, flag in ((paired, "--train-data"), (unpaired, "--unpaired"))
    ]
    loader = MixedLoader(MixedConfig(*sets, 8, 8, seed=1), tensor, tokens, workers=workers)
    return [(images.pixels.tolist(), texts.tokens.tolist()) for images, texts in loader], loader.counts


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_gives_the_same_from_a_store(workers, s3, shards):
    """This process has used the store before the workers are forked, as a run does that lists shards and sizes."""
    assert len(objects.listed(f"{s3}/paired")) == 5
    expected = epoch(str(shards / "paired"), str(shards / "unpaired"), workers)
    found = epoch(f"{s3}/paired", f"{s3}/unpaired/{{000000..000002}}.tar", workers)
    assert found == expected
    assert found[1]["paired: read"] == 40


def test_sizes_come_from_beside_the_shards(s3):
    found = ShardSet.of(expand(f"{s3}/paired::{s3}/unpaired/", "--train-data"))
    assert found.sizes.tolist() == [10, 10, 10, 10, 20, 20, 20]
    assert found.shards.urls[0] == f"{s3}/paired/000000.tar"


def test_what_is_not_there_is_refused(s3):
    with pytest.raises(DataError, match="--train-data: s3://bucket/set/none: no such object"):
        expand(f"{s3}/none", "--train-data")
    with pytest.raises(DataError, match="--train-data: the folder s3://bucket/set holds no"):
        expand(s3, "--train-data")
    with pytest.raises(DataError, match="--train-data: s3://nobucket/x: no such object"):
        expand("s3://nobucket/x", "--train-data")


def test_start_up_asks_about_no_shard_by_itself(s3, monkeypatch):
    """A folder is a listing, a thousand names an answer; names from braces are no request; two read the table."""
    requests = Counter()
    with many_shards(2500, requests) as endpoint:
        point_to(endpoint, monkeypatch)
        for pattern, expected in (("set", 3 + 2), ("set/{000000..002499}.tar", 2)):
            requests.clear()
            found = ShardSet.of(expand(f"s3://{BUCKET}/{pattern}", "--train-data"))
            loader = MixedLoader(MixedConfig(found, None, 8, rank=1, world_size=4), tensor, tokens)
            assert (len(found.shards), found.total, len(loader)) == (2500, 2_500_000, 78125)
            assert requests.total() == expected


def test_a_listing_has_the_time_of_many_answers(s3, monkeypatch):
    asked = []
    monkeypatch.setattr(objects, "ask", lambda *_, seconds, **__: asked.append(seconds) or [])
    objects.listed(s3)
    assert asked == [300]


@pytest.fixture
def weather(s3, s3_endpoint, monkeypatch):
    """What a server between here and the store does; nobody waits long for it."""
    found = Weather()
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(patience, "PAUSES", (0.0,) * 4)
    with in_between(s3_endpoint, found) as endpoint:
        point_to(endpoint, monkeypatch)
        yield found


def _read_and_collect(url):
    assert len(urls._held) == 1
    objects.read(url)

    async def collect():
        gc.collect()  # what was inherited and let go of would be closed here
        for _ in range(20):
            await asyncio.sleep(0)  # let the closing go on

    sync(get_loop(), collect)


def test_a_forked_process_does_not_disturb_its_parent(weather, s3, monkeypatch):
    """Both share the list of connections that the parent waits for; a connection that the child closes is not on it.

    (The server in between keeps connections open, as stores do.)
    """
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 30.0)  # no weather here, but perhaps a busy machine
    patience.take_troubles()
    objects.read(f"{s3}/keywords.txt")
    system, _ = urls.filesystem(s3)
    system.itself = system  # so that it is collected like rubbish, as caught errors with their frames make it
    del system
    child = get_context("fork").Process(target=_read_and_collect, args=[f"{s3}/keywords.txt"])
    child.start()
    child.join()
    assert child.exitcode == 0
    assert objects.read(f"{s3}/keywords.txt").startswith(b"# made by hand")
    assert patience.take_troubles() == {}
    assert urls._held == []


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_weather_changes_no_batch_and_is_counted(workers, weather, s3, shards):
    expected, _ = epoch(str(shards / "paired"), str(shards / "unpaired"), workers)
    weather.clear, weather.silent, weather.busy, weather.cut = 2, 2, 2, 2
    found, counts = epoch(f"{s3}/paired", f"{s3}/unpaired", workers)
    assert found == expected
    assert [weather.seen[kind] for kind in ("silent", "busy", "cut")] == [2, 2, 2]
    assert counts["store: request repeated"] >= 2  # the store's package repeats some by itself
    assert counts["paired: read"] == 40
    assert not any("unreadable" in outcome for outcome in counts)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_store_that_stays_silent_ends_the_epoch_with_one_line(workers, weather, s3):
    weather.clear, weather.silent = 3, 10**6
    with pytest.raises(DataError, match=r"s3://bucket/set/.*\.tar: the store does not answer, asked 5 times"):
        epoch(f"{s3}/paired", f"{s3}/unpaired", workers)


def test_a_truncated_shard_and_a_missing_one_are_counted_as_here(s3, shards, tmp_path, caplog):
    for name in ("000000.tar", "000001.tar"):
        (tmp_path / name).write_bytes((shards / "paired" / name).read_bytes())
    (tmp_path / "000001.tar").write_bytes((tmp_path / "000001.tar").read_bytes()[:4000])
    (tmp_path / "sizes.json").write_text('{"000000.tar": 10, "000001.tar": 10, "000002.tar": 10}')
    upload(tmp_path, f"s3://{BUCKET}/damaged")
    pattern = f"s3://{BUCKET}/damaged/{{000000..000002}}.tar"
    _, counts = epoch(pattern, f"{s3}/unpaired", 0)
    counts.pop("store: request repeated", None)  # of a slow machine, whose server answers late
    assert counts["paired: unreadable shard"] >= 10
    assert "damaged/000002.tar: no such object" in caplog.text
    assert "damaged/000001.tar: unexpected end of data" in caplog.text
    os.truncate(tmp_path / "000001.tar", 4000)
    (tmp_path / "000002.tar").write_bytes(b"")
    local = epoch(str(tmp_path / "{000000..000002}.tar"), str(shards / "unpaired"), 0)[1]
    assert local == counts


def told(capsys, *words):
    """(exit status, what a command printed)."""
    status = main([str(word) for word in words])
    return status, capsys.readouterr().out


def test_verify_says_the_same_of_a_store(s3, tmp_path, capsys):
    write_retrieval_set(tmp_path / "sets" / "val", 6)
    write_classification_set(tmp_path / "sets" / "aid", 6)
    upload(tmp_path / "sets", f"s3://{BUCKET}/sets")
    for name in ("val", "aid"):
        here = told(capsys, "verify", tmp_path / "sets" / name)
        assert told(capsys, "verify", f"s3://{BUCKET}/sets/{name}") == here
        assert here[0] == 0


def test_keywords_and_evaluation_say_the_same_of_a_store(s3, shards, tmp_path, capsys):
    here = told(capsys, "keywords", shards / "paired", "--out", tmp_path / "a.txt", "--method", "frequency")
    there = told(capsys, "keywords", f"{s3}/paired", "--out", tmp_path / "b.txt", "--method", "frequency")
    assert there[1].replace("b.txt", "a.txt") == here[1]
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()
    write_retrieval_set(tmp_path / "sets" / "val", 6)
    write_classification_set(tmp_path / "sets" / "aid", 6)
    upload(tmp_path / "sets", f"s3://{BUCKET}/sets")
    assert told(capsys, "keywords", s3 + "/paired", "--out", s3 + "/k.txt", "--method", "frequency")[0] == 0
    assert objects.read(s3 + "/k.txt") == (tmp_path / "b.txt").read_bytes()
    model, reports = model_with_weights(tmp_path / "model"), []
    for root in (str(tmp_path / "sets"), f"s3://{BUCKET}/sets"):
        out = tmp_path / f"{len(reports)}.json"
        flags = ["--zeroshot", f"{root}/aid", "--retrieval", f"v={root}/val", "--knn", f"{root}/aid"]
        assert told(capsys, "eval", "--model", model, *flags, "--workers", "1", "--json", out)[0] == 0
        reports.append(json.loads(out.read_text()))
    assert reports[0] == reports[1]
    status, _ = told(capsys, "eval", "--model", model, "--zeroshot", f"s3://{BUCKET}/none")
    assert status == 1
