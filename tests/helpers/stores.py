"""Stores for tests: a real S3 server on the loopback, a server in between that fails on demand, and scripted ones."""

import http.client
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

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

    with _serving(Handler) as here:
        try:
            yield here
        finally:
            weather.over.set()


@contextmanager
def many_shards(count: int, requests: Counter[str]) -> Iterator[str]:
    """The endpoint of a server that lists `count` shards in `BUCKET`/set as S3 does, 1000 names an answer, fast.

    It also has their `sizes.json`, and counts its requests by method.
    """
    names = [f"{number:06d}.tar" for number in range(count)]
    table = ("{" + ", ".join(f'"{name}": 1000' for name in names) + "}").encode()

    def page(first: int) -> bytes:
        rows = "".join(
            f"<Contents><Key>set/{name}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>0</ETag><StorageClass>STANDARD</StorageClass></Contents>"
            for name in names[first : first + 1000]
        )
        more = first + 1000 < count
        rest = f"<NextContinuationToken>{first + 1000}</NextContinuationToken>" if more else ""
        return (
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{rest}{rows}</ListBucketResult>".encode()
        )

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            requests[self.command] += 1
            about = urlsplit(self.path)
            asked = parse_qs(about.query)
            if "list-type" in asked and asked.get("prefix") == ["set/"]:
                status, data = 200, page(int(asked.get("continuation-token", ["0"])[0]))
            elif about.path == f"/{BUCKET}/set/sizes.json":
                status, data = 200, table
            else:
                status, data = 404, b""
            if wanted := re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or ""):
                status, data = 206, data[int(wanted[1]) : int(wanted[2]) + 1]
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_GET = do_HEAD = answer

        def log_message(self, *_: object) -> None:
            pass

    with _serving(Handler) as endpoint:
        yield endpoint


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The endpoint of a server on a free port."""
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
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
