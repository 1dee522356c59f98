"""Requests that fail: which are repeated, how often, and what is said of it."""

import logging

import pytest

from sclip_plugin.errors import DataError
from sclip_plugin.storage import objects, patience
from sclip_plugin.storage.patience import StoreDown, take_troubles


@pytest.fixture
def thing(store):
    store().pipe_file("/set/0.tar", bytes(range(100)))
    store.calls.clear()
    return "scripted://set/0.tar"


class Busy(Exception):
    """An error as the packages of stores have them: no `OSError`, with a status."""

    def __init__(self, status):
        super().__init__(f"status {status}")
        self.status = status


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), TimeoutError(), Busy(503), Busy(429), Exception("?")])
def test_what_may_pass_is_asked_for_again_logged_and_counted(error, thing, store, pauses, caplog):
    store.script["cat_file"] = [error, error]
    with caplog.at_level(logging.WARNING):
        assert objects.read(thing) == bytes(range(100))
    assert pauses == [1, 2]
    assert take_troubles() == {patience.REPEATED: 2}
    assert take_troubles() == {}
    assert [record.message.endswith(f"asked again in {n} s") for n, record in zip((1, 2), caplog.records)] == [True] * 2
    assert thing in caplog.text


def test_a_store_that_stays_away_is_one_line(thing, store, pauses):
    store.script["cat_file"] = [Busy(503)] * 99
    with pytest.raises(StoreDown, match="set/0.tar: the store does not answer, asked 7 times: status 503$"):
        objects.read(thing)
    assert pauses == list(patience.PAUSES)
    assert issubclass(StoreDown, DataError)


@pytest.mark.parametrize("error", [Busy(403), PermissionError("no access"), NotImplementedError(), ValueError("a bug")])
def test_what_is_hopeless_is_asked_once(error, thing, store, pauses):
    store.script["cat_file"] = [error]
    with pytest.raises(OSError, match=r"^scripted://set/0\.tar: "):
        objects.read(thing)
    assert (pauses, store.calls["cat_file"]) == ([], 1)


def test_a_package_that_finds_no_credentials_is_asked_once(thing, store, pauses):
    kind = type("NoCredentialsError", (Exception,), {})
    store.script["cat_file"] = [kind("Unable to locate credentials")]
    with pytest.raises(OSError, match="Unable to locate credentials"):
        objects.read(thing)
    assert pauses == []


def test_a_missing_object_is_missing(store, pauses):
    with pytest.raises(FileNotFoundError, match=r"^scripted://set/1\.tar: no such object$"):
        objects.read("scripted://set/1.tar")
    assert objects.look("scripted://set/1.tar") is None
    assert pauses == []


def test_a_body_that_ends_too_early_is_asked_for_again(thing, store, pauses, caplog):
    store.short = 1
    assert objects.read(thing, 10, 20) == bytes(range(10, 20))
    assert "the answer ends after 9 of 10 bytes" in caplog.text
    store.short = 99
    with pytest.raises(StoreDown, match="the answer ends after 9 of 10 bytes"):
        objects.read(thing, 10, 20)


def test_a_slow_answer_is_told(thing, pauses, monkeypatch, caplog):
    monkeypatch.setattr(patience, "SLOW_SECONDS", -1)
    objects.read(thing)
    assert take_troubles() == {patience.SLOW: 1}
    assert f"{thing}: the store took 0 s to answer" in caplog.text
