"""Stores for tests: a real S3 server on the loopback, a server in between that fails on demand, and scripted ones."""

import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from fsspec.implementations.memory import MemoryFileSystem

BUCKET = "bucket"


@contextmanager
def s3_server() -> Iterator[str]:
    """The endpoint of an S3 server with the bucket `BUCKET`, on a free port."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    connection = http.client.HTTPConnection(host, port)
    connection.request("PUT", f"/{BUCKET}")
    assert connection.getresponse().status == 200
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def upload(folder: Path, url: str) -> None:
    """Copy a folder to a store."""
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url)
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            system.pipe_file(f"{path}/{file.relative_to(folder).as_posix()}", file.read_bytes())


class Weather:
    """What a server in between does to the next requests for objects.

    Attributes:
        busy: how many are answered with 503.
        cut: how many answers end in the middle.
        silent: how many get no answer until the server is closed.
        clear: how many pass before any of the above begins.
        seen: {what happened to those: how often}.
        requests: {method: how often}, of all requests.
    """

    def __init__(self) -> None:
        self.busy = self.cut = self.silent = self.clear = 0
        self.seen: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.over = threading.Event()
        self._lock = threading.Lock()

    def next(self) -> str:
        """What happens to this request."""
        with self._lock:
            for kind in ("clear", "silent", "busy", "cut"):
                if getattr(self, kind) > 0:
                    setattr(self, kind, getattr(self, kind) - 1)
                    break
            else:
                kind = "clear"
            self.seen[kind] += 1
            return kind


@contextmanager
def in_between(endpoint: str, weather: Weather) -> Iterator[str]:
    """The endpoint of a server that passes requests on to another one; `weather` says to which GETs it does not."""
    behind = urlsplit(endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            weather.requests[self.command] += 1
            fate = weather.next() if self.command == "GET" and ".tar" in self.path else "clear"
            if fate == "silent":
                weather.over.wait()
                self.close_connection = True
                return
            if fate == "busy":
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = http.client.HTTPConnection(behind)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.close_connection = fate == "cut"
            self.wfile.write(data[: len(data) // 2] if fate == "cut" else data)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        weather.over.set()
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    """One that does not mind clients that hang up."""

    def handle_error(self, *_: object) -> None:
        pass


class ScriptedFileSystem(MemoryFileSystem):
    """A filesystem in memory, `scripted://`, that counts its calls and fails as told.

    Attributes:
        calls: {method: how often it was called}.
        script: {method: what its next calls raise, or None for one that succeeds}.
        short: how many answers of `cat_file` lack their last byte.
    """

    protocol = "scripted"
    store: dict = {}  # noqa: RUF012 (fsspec's own name and kind)
    pseudo_dirs: list = [""]  # noqa: RUF012
    calls: Counter = Counter()  # noqa: RUF012
    script: dict = {}  # noqa: RUF012
    short = 0

    @classmethod
    def forget(cls) -> None:
        cls.store.clear()
        cls.pseudo_dirs[:] = [""]
        cls.calls.clear()
        cls.script.clear()
        cls.short = 0

    def _call(self, name: str) -> None:
        self.calls[name] += 1
        error = self.script[name].pop(0) if self.script.get(name) else None
        if error is not None:
            raise error

    def info(self, path, **kwargs):
        self._call("info")
        return super().info(path, **kwargs)

    def ls(self, path, detail=True, **kwargs):
        self._call("ls")
        return super().ls(path, detail=detail, **kwargs)

    def cat_file(self, path, start=None, end=None, **kwargs):
        self._call("cat_file")
        found = super().cat_file(path, start, end, **kwargs)
        if self.short > 0:
            type(self).short -= 1
            return found[:-1]
        return found

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("scripted://", "memory://"))
