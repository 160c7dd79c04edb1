"""Files become one text: unpacked, decoded and joined, a few megabytes at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from charrnn.data.decoding import LINE_ENDS, FileDecoder, Found, TextRules
from charrnn.data.detect import HEAD_BYTES
from charrnn.data.raw import RawFile


@dataclass
class Position:
    """A place in the files between two pieces, and what is needed to continue from there.

    Attributes:
        file, offset: bytes of this file, unpacked, that have been read.
        characters: symbols before it.
        pending, flag: the decoder's state.
        held: characters that wait for the next piece.
        tail: the last symbols, to see how the text ends.
        endings: what was put between the files so far.
    """

    file: int = 0
    offset: int = 0
    characters: int = 0
    pending: str = ""
    flag: int = 0
    held: str = ""
    tail: str = ""
    endings: list[str] = field(default_factory=list)


class TextReader:
    """The text of the files, a few megabytes at a time.

    Args:
        paths: the files, in order.
        rules: how they become text.
        on_bytes: called with every byte of the files, unpacked, and with what is put between them, of which the second
            argument says so; also with those before `start`, so that what was read can be compared.
        start: where to begin; what comes before is read but not decoded.
        chunk_bytes: of a file, read at once.

    Attributes:
        found: what is worth a word to the user, so far.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        rules: TextRules,
        on_bytes: Callable[[bytes, bool], None],
        *,
        start: Position | None = None,
        chunk_bytes: int = 1 << 22,
    ) -> None:
        self.paths, self.rules, self.found = paths, rules, Found()
        self._on_bytes, self._chunk_bytes = on_bytes, chunk_bytes
        self._at = start or Position()
        self._end = self._symbols(rules.end)

    def __iter__(self) -> Iterator[tuple[str | bytes, Position]]:
        """Pieces, and the position after each.

        Raises:
            DataError: unreadable or damaged, or not in the encoding (with the offset of the first bad byte).
        """
        start = self._at
        for index, path in enumerate(self.paths):
            with RawFile(path) as file:
                if index < start.file:
                    self._skip(file, None)
                    if index < len(self.paths) - 1:
                        self._on_bytes(self._as_bytes(start.endings[index]), True)
                else:
                    yield from self._read(index, file, start if index == start.file else Position())

    def _skip(self, file: RawFile, size: int | None) -> None:
        while chunk := file.read(self._chunk_bytes if size is None else min(size, self._chunk_bytes)):
            self._on_bytes(chunk, False)
            size = None if size is None else size - len(chunk)

    def _read(self, index: int, file: RawFile, start: Position) -> Iterator[tuple[str | bytes, Position]]:
        self.found.packed += file.packed is not None
        decoder = FileDecoder(self.rules, file.peek(HEAD_BYTES), str(file.path), self.found)
        offset, begun = start.offset, self._at.characters if not start.offset else -1
        if offset:
            self._skip(file, offset)
            decoder.restore(start.pending, start.flag, start.held, offset=offset)
        while chunk := file.read(self._chunk_bytes):
            self._on_bytes(chunk, False)
            offset += len(chunk)
            piece = decoder.feed(chunk)
            self._look_inside(piece, file.path)
            yield piece, self._after(piece, Position(index, offset, 0, *decoder.state()))
        piece = decoder.feed(b"", final=True)
        empty = self._at.characters + len(piece) == begun
        ending = self._ending(self._tail(piece), empty=empty, last=index == len(self.paths) - 1)
        if index < len(self.paths) - 1:
            self._on_bytes(self._as_bytes(ending), True)
        self._at.endings.append(ending)
        piece = piece + self._as_bytes(ending) if isinstance(piece, bytes) else piece + ending
        yield piece, self._after(piece, Position(index + 1))

    def _look_inside(self, piece: str | bytes, path: Path) -> None:
        """Notice a file that holds what is put after files."""
        if self.rules.after_files is None or self.found.inside:
            return
        end = self._symbols(self.rules.after_files)
        if (self._as_bytes(end) in piece) if isinstance(piece, bytes) else (end in piece):
            self.found.inside = str(path)

    def _after(self, piece: str | bytes, position: Position) -> Position:
        position.characters = self._at.characters + len(piece)
        position.tail, position.endings = self._tail(piece), self._at.endings
        self._at = position
        return position

    def _tail(self, piece: str | bytes) -> str:
        """The last symbols after a piece; bytes as the characters of their numbers."""
        size = max(1, len(self._end))
        last = piece[-size:]
        return (self._at.tail + (last.decode("latin-1") if isinstance(last, bytes) else last))[-size:]

    def _ending(self, tail: str, *, empty: bool, last: bool) -> str:
        """What is put after a file that ends with `tail`."""
        if self.rules.after_files is not None:
            return "" if empty else self._symbols(self.rules.after_files)
        if last:
            end = self._end
            return end[next(k for k in range(len(end), -1, -1) if tail.endswith(end[:k])) :]
        line_ends = "\n\r" if self.rules.raw else LINE_ENDS
        return "\n" if self.rules.join and tail and tail[-1] not in line_ends else ""

    def _symbols(self, text: str) -> str:
        """A text, or for raw bytes its bytes as the characters of their numbers."""
        return text.encode("utf-8", "surrogateescape").decode("latin-1") if self.rules.raw else text

    def _as_bytes(self, symbols: str) -> bytes:
        return symbols.encode("latin-1") if self.rules.raw else symbols.encode("utf-8", "surrogatepass")
