"""The cells, by the name a settings file uses.

To add one, write a file, import its class here, and add it to `CELLS` and `__all__`. A cell of another package is found
by its name among the entry points of the group `charrnn.cells`, so that every process of a run finds it; `register`
adds one to this process.
"""

from __future__ import annotations

from importlib import import_module

from charrnn.nn.cells.gru import GRU
from charrnn.nn.cells.lstm import LSTM
from charrnn.nn.cells.milstm import MILSTM
from charrnn.nn.cells.recurrent import RecurrentCell
from charrnn.nn.cells.rnn import RNN

__all__ = ["CELLS", "GRU", "LSTM", "MILSTM", "RNN", "RecurrentCell", "find_cell", "register"]


class _Cells(dict[str, type[RecurrentCell]]):
    """Looks for unknown names among the entry points, which takes longer."""

    def __missing__(self, name: str) -> type[RecurrentCell]:
        from importlib.metadata import entry_points

        for point in entry_points(group="charrnn.cells"):
            if point.name == name:
                return register(point.load())
        raise KeyError(f"no cell is called {name!r}; there are {', '.join(sorted(self))}")


CELLS = _Cells({cls.name: cls for cls in (RNN, LSTM, GRU, MILSTM)})


def register(cls: type[RecurrentCell]) -> type[RecurrentCell]:
    """Add a cell to this process under its name; usable as a decorator."""
    CELLS[cls.name] = cls
    return cls


def find_cell(name: str, module: str) -> type[RecurrentCell]:
    """The cell of this name; if unknown here, from `module`, where another process got it.

    Raises:
        KeyError: no such cell.
        ImportError: no such module.
    """
    if name not in CELLS:
        for value in vars(import_module(module)).values():
            if isinstance(value, type) and issubclass(value, RecurrentCell) and getattr(value, "name", None) == name:
                register(value)
    return CELLS[name]
