"""Download a file whose SHA-256 is known: resumable, verified, all or nothing, by one process at a time."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from charrnn.errors import DataError, shown
from charrnn.files import unwritable
from charrnn.locks import fleeting_lock

ByteProgress = Callable[[int, "int | None"], None]
_CHUNK = 1 << 16
_SLOWEST = 1024  # bytes a second, over `_PATIENCE_SECONDS`
_PATIENCE_SECONDS = 30.0
_MOST_DIGITS = 18  # of a Content-Length


def download(
    url: str,
    destination: Path,
    *,
    sha256: str,
    size_bytes: int | None = None,
    again: bool = False,
    progress: ByteProgress | None = None,
    timeout_seconds: float = 30.0,
    patience_seconds: float = _PATIENCE_SECONDS,
) -> Path:
    """Fetch `url` into `destination`, unless it is there.

    Of several processes one fetches, the others wait for it. What arrived before a broken connection stays in
    `<name>.part` and is continued by the next call. Content with another checksum is refused and nothing of it is kept;
    if it was pieced together, it is fetched once more whole.

    Args:
        url: http or https.
        destination: replaced only by verified content.
        sha256: hexadecimal.
        size_bytes: expected size; a longer answer is refused as it arrives.
        again: fetch it even if it is there.
        progress: called with (bytes done, total bytes).
        timeout_seconds: of silence before the connection counts as broken.
        patience_seconds: until the answer begins; later, over which at least 1 kB per second must come.

    Raises:
        DataError: unreachable, refused, too slow, or not the expected content.
        SettingsError, StorageError: the destination cannot be written.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise DataError(f"{shown(url)}: only http and https addresses are fetched")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with fleeting_lock(destination.with_name(f".{destination.name}.lock")) as lock:
            if not again and destination.is_file() and _hash(destination) == sha256:
                return destination
            # Without a lock others may be at the same: a file of one's own, which nobody else writes into.
            own = destination.name + ("" if lock.held else f".{uuid.uuid4().hex[:8]}") + ".part"
            part = destination.with_name(own)
            fetch = _Fetch(url, part, size_bytes, progress, timeout_seconds, patience_seconds)
            try:
                return _verified(fetch, destination, sha256)
            finally:
                if not lock.held:
                    part.unlink(missing_ok=True)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        reason = str(getattr(error, "reason", None) or error)
        raise DataError(
            f"{url}: cannot be fetched: {reason if reason.isprintable() and len(reason) < 200 else shown(reason)}",
            hint=f"check the connection and try again, or put the file at {destination} by hand",
        ) from None
    except OSError as error:
        raise unwritable(destination, error) from None


def _verified(fetch: _Fetch, destination: Path, sha256: str) -> Path:
    part, found = fetch.part, ""
    for attempt in ("continue", "afresh"):
        resumed = part.exists() and part.stat().st_size > 0
        fetch()
        found = _hash(part)
        if found == sha256:
            os.replace(part, destination)
            return destination
        part.unlink()
        if not resumed or attempt == "afresh":
            break
    raise DataError(
        f"{fetch.url}: the content's SHA-256 is {found}, expected {sha256}; nothing was kept",
        hint="the file at that address has changed or was damaged on the way",
    )


class _Fetch:
    """One address into one file, from where an earlier attempt stopped."""

    def __init__(
        self,
        url: str,
        part: Path,
        limit: int | None,
        progress: ByteProgress | None,
        timeout_seconds: float,
        patience_seconds: float,
    ) -> None:
        self.url, self.part = url, part
        self._limit, self._progress = limit, progress
        self._timeout, self._patience = timeout_seconds, patience_seconds

    def __call__(self) -> None:
        have = self.part.stat().st_size if self.part.exists() else 0
        if self._limit is not None and have >= self._limit:
            return
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={have}-"} if have else {})
        try:
            with _Watch(self._patience) as watch, watch.opener().open(request, timeout=self._timeout) as answer:
                watch.restart()
                continued = have > 0 and answer.status == 206
                with self.part.open("ab" if continued else "wb") as file:
                    self._copy(answer, file, have if continued else 0, watch)
        except urllib.error.HTTPError as error:
            with error:  # closes its connection
                if error.code != 416 or not have:
                    raise
            # 416: nothing after what we have; the checksum decides whether that is all

    def _copy(self, answer: Any, file: IO[bytes], have: int, watch: _Watch) -> None:
        length = self._length(answer)
        total = self._limit if self._limit is not None else (None if length is None else have + length)
        done = have
        while chunk := answer.read1(_CHUNK):
            done += len(chunk)
            watch.got += len(chunk)
            if self._limit is not None and done > self._limit:
                file.truncate(0)
                raise DataError(f"{self.url}: sends more than the expected {self._limit:,} bytes; nothing was kept")
            file.write(chunk)
            if self._progress:
                self._progress(done, total)
        if length is not None and done - have < length:
            raise ConnectionError(f"the connection broke after {done:,} bytes")

    def _length(self, answer: Any) -> int | None:
        text = answer.headers.get("Content-Length")
        if text is None:
            return None
        if not (text.strip().isascii() and text.strip().isdigit() and len(text) <= _MOST_DIGITS):
            raise DataError(f"{self.url}: the server's Content-Length is {shown(text)}, which is not a number")
        return int(text)


class _OnlyWeb(urllib.request.HTTPRedirectHandler):
    """Follows a server to another web address and to nothing else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).scheme not in ("http", "https"):
            raise DataError(f"{req.full_url}: leads to {shown(newurl)}; only http and https addresses are fetched")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Watch:
    """Cuts the connections of an opener whose server is too slow, however it divides what little it sends.

    Args:
        patience_seconds: until the answer begins, and over which its speed is taken.

    Attributes:
        got: bytes so far, counted by whoever reads them.
    """

    def __init__(self, patience_seconds: float) -> None:
        self.got = 0
        self._patience, self._why = patience_seconds, ""
        self._sockets: list[socket.socket] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.restart()

    def restart(self) -> None:
        """Be patient anew: the answer begins."""
        self._noted, self._since = self.got, time.monotonic()

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._why and not isinstance(error, DataError):
            raise TimeoutError(self._why) from None

    def _run(self) -> None:
        while not self._over.wait(self._patience / 10):
            passed, got = time.monotonic() - self._since, self.got - self._noted
            if passed < self._patience:
                continue
            if got < _SLOWEST * passed:
                self._why = f"too slow: {got:,} bytes in {passed:.0f} seconds"
                self._cut()
                return
            self.restart()

    def _cut(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def opener(self) -> urllib.request.OpenerDirector:
        """An opener for http and https whose connections are watched."""
        plain = self._remembered(http.client.HTTPConnection)
        secure = self._remembered(http.client.HTTPSConnection)

        class Http(urllib.request.HTTPHandler):
            def http_open(self, req: urllib.request.Request) -> Any:
                return self.do_open(plain, req)

        class Https(urllib.request.HTTPSHandler):
            def https_open(self, req: urllib.request.Request) -> Any:
                return self.do_open(secure, req)

        return urllib.request.build_opener(_OnlyWeb, Http, Https)

    def _remembered(self, kind: type[http.client.HTTPConnection]) -> Any:
        sockets = self._sockets

        class Watched(kind):  # type: ignore[valid-type, misc]
            def connect(self) -> None:
                super().connect()
                sockets.append(self.sock)  # urllib forgets it once the answer begins

        return Watched


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
