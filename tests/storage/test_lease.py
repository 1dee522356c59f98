"""A lease on a folder of a store: one holder at a time, dead ones taken over; who has lost it writes nothing."""

import errno
import json
import logging
import multiprocessing
import os
import threading

import pytest

from sclip_plugin.cli import main
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.shards.conversion.workspace import workspace
from sclip_plugin.storage import lease as leases
from sclip_plugin.storage import objects, patience
from sclip_plugin.storage.lease import EXPIRES_SECONDS, RENEW_SECONDS, WATCH_SECONDS, Clock, lease
from sclip_plugin.storage.location import location
from sclip_plugin.storage.outputs import write
from tests.helpers.shards import write_shards
from tests.helpers.stores import BUCKET
from tests.storage.test_outputs import convert, files, held

FOLDER, LOCK = "scripted://set/out", "scripted://set/out/.progress/lock"


class Hands:
    """A clock set by hand; `meanwhile` is called in each sleep."""

    def __init__(self):
        self.time, self.slept = 1_800_000_000.0, []
        self.meanwhile = lambda: None

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds
        self.meanwhile()

    @property
    def clock(self):
        return Clock(lambda: self.time, lambda: self.time, self.sleep)


@pytest.fixture
def hands():
    return Hands()


def take(hands, folder=FOLDER):
    return lease(folder, f"{folder}/.progress/lock", "busy", hands.clock)


def left_behind(hands, url=LOCK, **changes):
    """The lease of somebody on another machine, who is not heard of again."""
    about = {"host": "far", "place": "x", "pid": 7, "token": "t", "since": hands.time, "renewed": hands.time}
    objects.replace(url, json.dumps(about | changes).encode())


def test_one_holds_it_and_it_is_gone_at_the_end(store, hands):
    with take(hands):
        assert json.loads(objects.read(LOCK))["pid"] == os.getpid()
        told = rf"^busy: process {os.getpid()} on .*, since 2027-01-15 08:00:00 UTC$"
        with pytest.raises(UsageError, match=told), take(hands):
            pass
        with take(hands, "scripted://set/other"):
            pass
        assert list(held("scripted://set")) == ["out/.progress/lock"]
    assert held("scripted://set") == {}
    with pytest.raises(ZeroDivisionError), take(hands):
        raise ZeroDivisionError
    assert held("scripted://set") == {}
    assert hands.slept == []


def test_a_lease_elsewhere_is_refused_until_it_has_expired(store, hands):
    left_behind(hands)
    hands.time += EXPIRES_SECONDS - 1
    told = r"^busy: process 7 on far, since 2027-01-15 08:00:00 UTC; .* goes on there after 2027-01-15 08:03:00 UTC$"
    with pytest.raises(UsageError, match=told), take(hands):
        pass
    assert hands.slept == []


@pytest.mark.parametrize("late", [EXPIRES_SECONDS, -EXPIRES_SECONDS])
def test_an_expired_lease_is_watched_and_taken_over(late, store, hands, caplog):
    """One of the future is that of a machine whose clock is wrong."""
    left_behind(hands)
    hands.time += late
    with caplog.at_level(logging.WARNING), take(hands):
        assert json.loads(objects.read(LOCK))["pid"] == os.getpid()
    assert hands.slept == [WATCH_SECONDS, leases.SETTLE_SECONDS]
    assert "was last renewed at 2027-01-15 08:00:00 UTC; it is watched for 75 s" in caplog.text
    assert held("scripted://set") == {}


def test_a_lease_that_only_looks_expired_is_left_alone(store, hands):
    """Its holder's clock is an hour late, but it goes on renewing."""
    left_behind(hands, renewed=hands.time - 3600)
    hands.meanwhile = lambda: left_behind(hands, renewed=hands.time - 3600)
    with pytest.raises(UsageError, match="busy: process 7 on far"), take(hands):
        pass
    assert hands.slept == [WATCH_SECONDS]
    assert json.loads(objects.read(LOCK))["host"] == "far"


def test_of_two_that_take_over_one_wins(store, hands):
    left_behind(hands)
    hands.time += EXPIRES_SECONDS

    def second():
        if len(hands.slept) == 2:  # the first has written its name, and not read it back
            left_behind(hands, token="second", pid=8)

    hands.meanwhile = second
    with pytest.raises(UsageError, match="busy: process 8 on far"), take(hands):
        pass
    assert json.loads(objects.read(LOCK))["token"] == "second"


def test_of_two_that_begin_one_wins(store, hands, monkeypatch):
    """The other one creates the object between our look and our creation."""
    create = store.pipe_file

    def raced(self, path, value, mode="overwrite"):
        if mode == "create":
            left_behind(hands)
        return create(self, path, value, mode)

    monkeypatch.setattr(store, "pipe_file", raced)
    with pytest.raises(UsageError, match="busy: process 7 on far"), take(hands):
        pass
    assert json.loads(objects.read(LOCK))["host"] == "far"


def test_a_store_without_exclusive_creation(store, hands, monkeypatch):
    create = store.pipe_file
    monkeypatch.setattr(store, "pipe_file", lambda self, path, value: create(self, path, value))
    with take(hands), pytest.raises(UsageError, match="busy"), take(hands):
        pass
    assert held("scripted://set") == {}


def _hold_and_die(folder):
    with lease(folder, f"{folder}/.progress/lock", "busy"):
        os._exit(9)


def test_a_process_that_was_killed_here_is_taken_over_at_once(s3, hands):
    folder = f"s3://{BUCKET}/killed"
    child = multiprocessing.get_context("fork").Process(target=_hold_and_die, args=[folder])
    child.start()
    child.join()
    assert child.exitcode == 9
    assert list(held(folder)) == [".progress/lock"]
    with take(hands, folder):
        with pytest.raises(UsageError, match="busy"), take(hands, folder):
            pass
        assert hands.slept == [leases.SETTLE_SECONDS]
    assert held(folder) == {}


def test_s3_creates_only_what_is_not_there(s3, pauses):
    url = f"s3://{BUCKET}/once/lock"
    objects.create(url, b"first")
    objects.create(url, b"second")
    assert objects.read(url) == b"first"
    assert pauses == []


def test_a_holder_renews_and_finds_itself_robbed(store, hands):
    with take(hands) as own:
        hands.time += RENEW_SECONDS
        own.renew()
        about = json.loads(objects.read(LOCK))
        assert about["renewed"] - about["since"] == RENEW_SECONDS
        hands.time += EXPIRES_SECONDS
        write(location(f"{FOLDER}/0.tar"), b"x")
        left_behind(hands)
        own.renew()
        told = (
            rf"^{FOLDER}: this run stops: another sclip convert or sclip split has taken over there: process 7 on far"
        )
        with pytest.raises(DataError, match=told):
            write(location(f"{FOLDER}/1.tar"), b"x")
        with pytest.raises(DataError, match=told):
            location(f"{FOLDER}/0.tar").unlink()
        write(location(f"{FOLDER}-2/0.tar"), b"x")
    assert list(held(FOLDER)) == [".progress/lock", "0.tar"]
    assert json.loads(objects.read(LOCK))["host"] == "far"


def test_a_lease_that_was_removed_is_lost(store, hands):
    with take(hands) as own:
        objects.remove(LOCK)
        own.renew()
        with pytest.raises(DataError, match="this run stops: its lease was removed"):
            own.check()
        assert held(FOLDER) == {}


def test_a_holder_that_cannot_renew_stops_before_others_begin(store, hands, pauses):
    with take(hands) as own:
        store.script["cat_file"] = [ConnectionResetError("reset")]
        hands.time += EXPIRES_SECONDS
        own.renew()
        own.check()
        hands.time += 1
        with pytest.raises(DataError, match="this run stops: its lease could not be renewed for 180 s"):
            own.check()
    assert pauses == []  # a renewal is tried once: it must not come after others began


def test_a_thread_renews_until_the_end(store, hands, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0)
    renewed = threading.Event()
    renew = leases.Lease.renew
    monkeypatch.setattr(leases.Lease, "renew", lambda self: (renew(self), renewed.set()))
    with take(hands):
        assert renewed.wait(60)
    assert held("scripted://set") == {}


def test_a_store_that_is_down_is_not_asked_once_more(store, hands, pauses):
    taken = take(hands)
    taken.__enter__()
    store.calls.clear()
    down = patience.StoreDown("down")
    assert not taken.__exit__(patience.StoreDown, down, None)
    assert store.calls["cat_file"] == 0
    assert list(held(FOLDER)) == [".progress/lock"]
    assert leases._held == []


def test_a_lease_that_is_none_and_a_store_without_access(store, hands, monkeypatch):
    objects.replace(LOCK, b"[]")
    with pytest.raises(DataError, match=rf"^{LOCK}: damaged, or no lease; remove it"), take(hands):
        pass
    objects.remove(LOCK)

    def refusing(*_, **__):
        raise PermissionError("read only")

    monkeypatch.setattr(store, "pipe_file", refusing)
    with pytest.raises(DataError, match=rf"^{LOCK}: read only$"), take(hands):
        pass


def test_two_conversions_into_one_url_are_kept_apart(store, tmp_path, capsys):
    source = write_shards(tmp_path / "source", 10, 1, captions=True)
    with workspace(location(FOLDER)):
        assert convert(source, FOLDER) == 2
        assert main(["split", str(source), "--out", FOLDER, "--paired-ratio", "0.5"]) != 0
        error = capsys.readouterr().err
        assert f"--out: {FOLDER}: another sclip convert or sclip split is at work there: process" in error
        assert list(held(FOLDER)) == [".progress/lock"]
    assert convert(source, FOLDER) == convert(source, tmp_path / "here") == 0
    assert held(FOLDER) == files(tmp_path / "here")


def test_a_conversion_that_was_robbed_stops_with_one_line(store, tmp_path, capsys, monkeypatch):
    source = write_shards(tmp_path / "source", 10, 1, captions=True)
    put = store.put_file

    def robbed(self, local, path):
        put(self, local, path)
        left_behind(Hands())
        leases._held[0].renew()

    monkeypatch.setattr(store, "put_file", robbed)
    assert convert(source, FOLDER) == 1
    assert capsys.readouterr().err.count("this run stops: another sclip convert or sclip split has taken over") == 1
    assert not any(name.endswith((".tar", "manifest.json")) for name in held(FOLDER))


def refusal(number, code):
    """An error as s3fs makes it of an answer of S3's."""
    error = OSError(number, code)
    error.__cause__ = Exception()
    error.__cause__.response = {"Error": {"Code": code}}
    return error


@pytest.mark.parametrize(
    ("error", "there"),
    [
        (refusal(errno.EINVAL, "PreconditionFailed"), b"before"),
        (refusal(errno.ENOSYS, "NotImplemented"), b"now"),
        (TypeError("an unexpected keyword argument 'mode'"), b"now"),
    ],
)
def test_servers_and_packages_that_know_creation_by_halves(error, there, store, pauses, monkeypatch):
    objects.replace(LOCK, b"before")
    put = store.pipe_file

    def half(self, path, value, mode="overwrite"):
        if mode == "create":
            raise error
        put(self, path, value)

    monkeypatch.setattr(store, "pipe_file", half)
    objects.create(LOCK, b"now")
    assert objects.read(LOCK) == there
    assert pauses == []
