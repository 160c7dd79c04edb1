"""Download a file whose SHA-256 is known: resumable, verified, all or nothing."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from charrnn.errors import DataError
from charrnn.files import unwritable

ByteProgress = Callable[[int, "int | None"], None]
_CHUNK = 1 << 16


def download(
    url: str,
    destination: Path,
    *,
    sha256: str,
    size_bytes: int | None = None,
    progress: ByteProgress | None = None,
    timeout_seconds: float = 30.0,
) -> Path:
    """Fetch `url` into `destination`.

    What arrived before a broken connection stays in `<name>.part` and is continued by the next call. Content with
    another checksum is refused and nothing of it is kept; if it was pieced together, it is fetched once more whole.

    Args:
        url: http or https.
        destination: replaced only by verified content.
        sha256: hexadecimal.
        size_bytes: expected size; a longer answer is refused as it arrives.
        progress: called with (bytes done, total bytes).
        timeout_seconds: of silence before the connection counts as broken.

    Raises:
        DataError: unreachable, refused, or not the expected content.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise DataError(f"{url}: only http and https addresses are fetched")
    part = destination.with_name(destination.name + ".part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        for attempt in ("continue", "afresh"):
            resumed = part.exists() and part.stat().st_size > 0
            _fetch(url, part, size_bytes, progress, timeout_seconds)
            found = _hash(part)
            if found == sha256:
                os.replace(part, destination)
                return destination
            part.unlink()
            if not resumed or attempt == "afresh":
                break
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"{url}: cannot be fetched: {reason}",
            hint=f"check the connection and try again, or put the file at {destination} by hand",
        ) from None
    except OSError as error:
        raise unwritable(destination, error, hint="set CHARRNN_HOME to a folder that can be written") from None
    raise DataError(
        f"{url}: the content's SHA-256 is {found}, expected {sha256}; nothing was kept",
        hint="the file at that address has changed or was damaged on the way",
    )


def _fetch(url: str, part: Path, limit: int | None, progress: ByteProgress | None, timeout_seconds: float) -> None:
    have = part.stat().st_size if part.exists() else 0
    if limit is not None and have >= limit:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds) as answer:
            continued = have > 0 and answer.status == 206
            with part.open("ab" if continued else "wb") as file:
                _copy(url, answer, file, have if continued else 0, limit, progress)
    except urllib.error.HTTPError as error:
        with error:  # closes its connection
            if error.code != 416 or not have:
                raise
        # 416: nothing after what we have; the checksum decides whether that is all


def _copy(url: str, answer: Any, file: IO[bytes], have: int, limit: int | None, progress: ByteProgress | None) -> None:
    length = answer.headers.get("Content-Length")
    total = limit if limit is not None else (have + int(length) if length else None)
    done = have
    while chunk := answer.read(_CHUNK):
        done += len(chunk)
        if limit is not None and done > limit:
            file.truncate(0)
            raise DataError(f"{url}: sends more than the expected {limit:,} bytes; nothing was kept")
        file.write(chunk)
        if progress:
            progress(done, total)
    if length and done - have < int(length):
        raise ConnectionError(f"the connection broke after {done:,} bytes")


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
