"""Finding, building and fetching texts; downloads from a real server on the loopback."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from charrnn.data import corpora
from charrnn.data.download import download
from charrnn.errors import DataError
from charrnn.locks import FileLock
from tests.conftest import ROOT

CONTENT = b"To be, or not to be: that is the question.\n" * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT as the server's `mode` says and notes what was asked for."""

    def do_GET(self) -> None:
        server: Server = self.server  # type: ignore[assignment]
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        if server.mode == "missing":
            self.send_error(404)
            return
        body, start = CONTENT, 0
        if server.mode == "wrong":
            body = b"x" * len(CONTENT)
        if server.mode == "long":
            body = CONTENT + b"more"
        if asked and server.mode != "no ranges":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_error(416)
                return
        if server.mode == "slow head":  # a line that never ends, letter by letter
            self.trickle(b"HTTP/1.1 200 " + b"O" * 60_000)
            return
        if server.mode.startswith("leads to "):
            self.send_response(302)
            self.send_header("Location", server.mode.removeprefix("leads to "))
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if server.mode.startswith("length "):
            self.send_header("Content-Length", server.mode.removeprefix("length "))
            self.end_headers()
            return
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if server.mode == "slow":
            self.trickle(body)
            return
        cut = len(body) // 2 if server.mode == "cut" and not start else len(body)
        self.wfile.write(body[start:cut])

    def trickle(self, body: bytes) -> None:
        with contextlib.suppress(OSError):  # until the other side has enough
            for k in range(len(body)):
                self.wfile.write(body[k : k + 1])
                self.wfile.flush()
                time.sleep(0.01)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode, self.ranges = "", list[str | None]()
        self.url = f"http://127.0.0.1:{self.server_port}/text"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_arrives_whole_and_tells_its_progress(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    path = download(server.url, tmp_path / "t", sha256=SHA256, progress=lambda a, b: told.append((a, b)))
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("then", ["", "no ranges"])
def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path, then: str) -> None:
    server.mode = "cut"
    with pytest.raises(DataError, match="cannot be fetched"):
        download(server.url, tmp_path / "t", sha256=SHA256, size_bytes=len(CONTENT))
    assert not (tmp_path / "t").exists()
    server.mode = then
    download(server.url, tmp_path / "t", sha256=SHA256, size_bytes=len(CONTENT))
    assert (tmp_path / "t").read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_complete_part_needs_no_more_bytes(server: Server, tmp_path: Path) -> None:
    (tmp_path / "t.part").write_bytes(CONTENT)
    download(server.url, tmp_path / "t", sha256=SHA256)  # the server answers 416
    assert (tmp_path / "t").read_bytes() == CONTENT


def test_a_wrong_part_is_thrown_away_and_fetched_afresh(server: Server, tmp_path: Path) -> None:
    (tmp_path / "t.part").write_bytes(b"y" * 1000)
    download(server.url, tmp_path / "t", sha256=SHA256)
    assert (tmp_path / "t").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("mode", "message"), [("wrong", "SHA-256"), ("long", "more than"), ("missing", "404|Not Found")]
)
def test_wrong_content_is_refused_and_nothing_kept(server: Server, tmp_path: Path, mode: str, message: str) -> None:
    server.mode = mode
    (tmp_path / "t").write_text("old")
    with pytest.raises(DataError, match=message):
        download(server.url, tmp_path / "t", sha256=SHA256, size_bytes=len(CONTENT))
    assert (tmp_path / "t").read_text() == "old"
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) == 3


@pytest.mark.parametrize("mode", ["slow", "slow head"])
def test_a_server_that_trickles_is_given_up(server: Server, tmp_path: Path, mode: str) -> None:
    server.mode = mode
    with pytest.raises(DataError, match=r"too slow: \d+ bytes in \d+ seconds"):
        download(server.url, tmp_path / "t", sha256=SHA256, patience_seconds=0.3)
    assert not (tmp_path / "t").exists()
    server.mode = ""
    download(server.url, tmp_path / "t", sha256=SHA256)  # with what came as its beginning
    assert (tmp_path / "t").read_bytes() == CONTENT


@pytest.mark.parametrize("length", ["12x", "-3", "", "9" * 5000, "\u00b2", "1e3"])
def test_a_length_that_is_no_number_is_one_line(server: Server, tmp_path: Path, length: str) -> None:
    server.mode = f"length {length}"
    with pytest.raises(DataError, match=r"Content-Length is .* which is not a number|cannot be fetched") as caught:
        download(server.url, tmp_path / "t", sha256=SHA256)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/x", "file:///etc/hostname", "http://[::1", "http://a:b/"])
def test_only_web_addresses_are_followed(server: Server, tmp_path: Path, place: str) -> None:
    server.mode = f"leads to {place}"
    with pytest.raises(DataError, match=r"only http and https|cannot be fetched"):
        download(server.url, tmp_path / "t", sha256=SHA256)


def test_many_processes_get_a_file_that_one_fetches(server: Server, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from charrnn.data.download import download; "
        f"download('{server.url}', Path(r'{tmp_path}') / 't', sha256='{SHA256}', size_bytes={len(CONTENT)})"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(6)]
    assert [process.wait(timeout=60) for process in running] == [0] * 6
    assert (tmp_path / "t").read_bytes() == CONTENT
    assert server.ranges == [None]
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("locks", [True, False])
def test_a_late_writer_never_spoils_a_verified_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: bool
) -> None:
    """One download is held up in the middle of wrong content, another comes, gets it right and ends."""
    if not locks:
        monkeypatch.setattr("fcntl.flock", lambda handle, kind: None)
        monkeypatch.setattr(FileLock, "held", property(lambda self: False, lambda self, value: None), raising=False)
    held, go_on, failures = threading.Event(), threading.Event(), list[str]()

    def wait(done: int, total: int | None) -> None:
        held.set()
        go_on.wait(20)

    def late() -> None:
        try:
            download(server.url, tmp_path / "t", sha256=SHA256, progress=wait)
        except DataError as error:
            failures.append(error.message)

    server.mode = "wrong"
    thread = threading.Thread(target=late)
    thread.start()
    assert held.wait(20)
    server.mode = ""
    if locks:
        go_on.set()  # the other waits for it
    download(server.url, tmp_path / "t", sha256=SHA256)
    go_on.set()
    thread.join()
    assert (tmp_path / "t").read_bytes() == CONTENT
    assert "SHA-256" in failures[0]
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


def test_only_web_addresses_are_fetched(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only http"):
        download("file:///etc/hostname", tmp_path / "t", sha256=SHA256)


def test_an_unreachable_server_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be fetched"):
        download("http://127.0.0.1:1/x", tmp_path / "t", sha256=SHA256, timeout_seconds=2)


def test_a_named_text_is_fetched_once(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARRNN_HOME", str(tmp_path))
    entry = corpora.CorpusEntry("hamlet", "", "url", "", server.url, SHA256, len(CONTENT))
    monkeypatch.setattr(corpora, "catalogue", lambda: {"hamlet": entry})
    assert corpora.resolve("hamlet")[0].read_bytes() == CONTENT
    corpora.resolve("hamlet")
    assert len(server.ranges) == 1


def test_the_catalogue_names_verified_sources_only() -> None:
    entries = corpora.catalogue()
    assert {"python-docs", "python-names", "python-stdlib", "tiny-shakespeare"} <= set(entries)
    assert all(e.kind == "builtin" or (e.url and e.sha256 and e.size_bytes) for e in entries.values())
    shakespeare = entries["tiny-shakespeare"]
    assert shakespeare.size_bytes == 1_115_394
    assert shakespeare.sha256 == "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def test_built_in_texts_need_no_network() -> None:
    docs = corpora.resolve("python-docs")[0].read_text(encoding="utf-8")
    assert len(docs) > 300_000
    assert "import" in docs
    info = corpora.info("python-stdlib")
    assert info.size_bytes > 5_000_000
    assert info.symbols is not None


def test_names_are_those_of_functions_and_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "class Cat(Pet):\r\n    async def sit(self):\n        sit.down()\n\ndef sit(x): ...\n# def no\n'class'\n"
    for name in ("a.py", "b/c.py", "test/d.py"):
        (tmp_path / "lib" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "lib" / name).write_text(source + f"def in_{name[-4]}(): ...\n")
    (tmp_path / "lib" / "latin.py").write_bytes(b"def not_utf8(): '\xff'\n")
    monkeypatch.setenv("CHARRNN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "lib"))
    assert corpora.get("python-names").read_text() == "Cat\nsit\nin_a\nin_c\n"


def test_files_globs_and_directories(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "sub/c.txt", ".hidden/x.txt", "sub/.y"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)

    def names(source: Path) -> list[str]:
        return [str(p.relative_to(tmp_path)) for p in corpora.resolve(str(source))]

    assert names(tmp_path / "a.txt") == ["a.txt"]
    assert names(tmp_path / "*.txt") == ["a.txt", "b.txt"]
    assert names(tmp_path) == ["a.txt", "b.txt", "sub/c.txt"]
    for source, message in [("pyton-docs", "no such"), (str(tmp_path / "*.md"), "no files")]:
        with pytest.raises(DataError, match=message):
            corpora.resolve(source)
    with pytest.raises(DataError) as caught:
        corpora.resolve("pyton-docs")
    assert "did you mean python-docs" in (caught.value.hint or "")


def test_info_counts(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("né\nb", encoding="utf-8")
    found = corpora.info(str(tmp_path / "a"))
    assert (found.size_bytes, found.characters, found.symbols, found.lines) == (5, 4, 4, 1)
    (tmp_path / "b").write_bytes(b"\xff\n\xff")
    found = corpora.info(str(tmp_path / "b"))
    assert (found.size_bytes, found.characters, found.lines) == (3, None, 1)
