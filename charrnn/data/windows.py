"""A text of ids, split and cut into windows.

B streams run through a split side by side; window k holds step k*T .. k*T+T of every stream, so that the state a
stream ends one window with is the state it begins the next with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.amounts import counted
from charrnn.errors import DataError
from charrnn.nn.params import IdArray

IntpArray = npt.NDArray[np.intp]

SPLITS = ("train", "val", "test")


def split_bounds(size: int, *, val_fraction: float, test_fraction: float) -> dict[str, tuple[int, int]]:
    """Contiguous train, val and test parts of a text of `size` symbols: name -> (start, stop)."""
    val_start = int(size * (1.0 - val_fraction - test_fraction))
    test_start = int(size * (1.0 - test_fraction)) if test_fraction else size
    return {"train": (0, val_start), "val": (val_start, test_start), "test": (test_start, size)}


@dataclass(frozen=True)
class Window:
    """A piece of the streams.

    Attributes:
        inputs: (T, B) ids.
        targets: (T, B) ids, each the symbol after its input.
        resets: (R, 2) pairs (t, b): a new document begins with input t of stream b; None where there are none.
    """

    inputs: IntpArray
    targets: IntpArray
    resets: IntpArray | None


class WindowStream:
    """B parallel streams over a split, cut into windows of at most T steps.

    Streams start evenly spaced and are equally long; where the predictions do not divide by B, neighbouring streams
    overlap by one symbol (`repeated` counts them), so that nothing is left out. The last window of an epoch is as
    short as what is left.

    Args:
        ids: (N,) of the split; N-1 predictions.
        batch_size: B wanted; fewer where the text is too short for B streams of T steps.
        seq_length: T.
        separator: ids that end a document; None for one document.
        offsets: windows may begin up to T-1 symbols later; an epoch leaves out that many predictions of each stream.

    Raises:
        DataError: fewer than T+1 symbols.
    """

    def __init__(
        self,
        ids: IdArray,
        batch_size: int,
        seq_length: int,
        *,
        separator: IdArray | None = None,
        offsets: bool = False,
    ) -> None:
        predictions = len(ids) - 1
        if predictions < seq_length:
            raise DataError(
                f"the training part has {counted(len(ids), 'symbol')}, but a window needs training.seq_length + 1 = "
                f"{seq_length + 1}",
                hint="use a longer text, a smaller training.seq_length or smaller corpus fractions",
            )
        self.ids, self.separator = ids, separator
        self.seq_length = seq_length
        self.columns = min(batch_size, predictions // seq_length)
        self.steps = -(-predictions // self.columns)
        self.starts = np.arange(self.columns, dtype=np.int64) * predictions // self.columns
        self.repeated = self.steps * self.columns - predictions
        self.largest_offset = seq_length - 1 if offsets and self.steps > seq_length else 0
        if self.largest_offset:
            self.steps, self.repeated = self.steps - self.largest_offset, 0
        self.windows_per_epoch = -(-self.steps // seq_length)

    def window_steps(self, index: int) -> int:
        """Steps of window `index`: T, or what is left."""
        return min(self.seq_length, self.steps - index * self.seq_length)

    def offset(self, seed: int, epoch: int) -> int:
        """How much later windows begin in this epoch; 0 where offsets are off."""
        if not self.largest_offset:
            return 0
        return int(np.random.default_rng([seed, epoch]).integers(self.largest_offset + 1))

    def window(self, index: int, columns: slice = slice(None), *, offset: int = 0) -> Window:
        """Window `index` of an epoch, for all streams or some of them, begun `offset` symbols later."""
        first = index * self.seq_length + offset
        return cut_window(self.ids, self.starts[columns] + first, self.window_steps(index), self.separator)


def cut_window(ids: IdArray, starts: npt.NDArray[np.int64], length: int, separator: IdArray | None) -> Window:
    """`length` steps from each of the (B,) `starts`; starts before the text read its first symbol."""
    steps = np.arange(length + 1, dtype=np.int64)[:, None]
    both = ids[np.maximum(starts[None, :] + steps, 0)].astype(np.intp)
    resets = None if separator is None else _document_starts(ids, starts, length, separator)
    return Window(both[:-1], both[1:], resets)


def _document_starts(ids: IdArray, starts: npt.NDArray[np.int64], length: int, separator: IdArray) -> IntpArray | None:
    """(R, 2) of the (t, b) whose preceding symbols are the separator."""
    positions = starts[None, :] + np.arange(length, dtype=np.int64)[:, None]
    found = positions >= len(separator)
    for back, symbol in enumerate(separator[::-1], start=1):
        found &= ids[np.maximum(positions - back, 0)] == symbol
    return np.argwhere(found) if found.any() else None
