"""Shards on a plain server of the web: folders are pages of links, and it knows no ranges."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sclip_plugin.cli import main
from sclip_plugin.data.samples import read_samples
from sclip_plugin.data.shard_list import ShardSet, expand
from sclip_plugin.errors import DataError
from tests.helpers.sets import write_classification_set


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(shards, tmp_path):
    """The URL of a server of a folder with `shards`, and that folder."""
    pytest.importorskip("aiohttp")
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "set").symlink_to(shards)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "www")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", tmp_path / "www"
    server.shutdown()
    server.server_close()


def contents(shard_list):
    faults = {}
    return [list(read_samples(url, 0, None, faults)) for url in shard_list.urls], faults


def test_shards_read_as_from_the_disk(web, shards):
    there, here = expand(f"{web[0]}/set/paired/", "--train-data"), expand(str(shards / "paired"), "--train-data")
    assert [url.rpartition("/")[2] for url in there.urls] == [path.rpartition("/")[2] for path in here.urls]
    assert contents(there) == contents(here)
    assert ShardSet.of(there).total == 40


def test_a_url_without_a_slash_is_a_shard(web):
    assert expand(f"{web[0]}/set/paired", "--train-data").urls == [f"{web[0]}/set/paired"]
    with pytest.raises(DataError, match="--train-data: http://.*/none/: no such object"):
        expand(f"{web[0]}/none/", "--train-data")


def test_verify_finds_parts_on_the_web(web, capsys):
    write_classification_set(web[1] / "aid", 6)
    assert main(["verify", str(web[1] / "aid")]) == 0
    expected = capsys.readouterr().out
    assert main(["verify", f"{web[0]}/aid"]) == 0
    assert capsys.readouterr().out == expected
