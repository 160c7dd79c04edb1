"""The cells, by the name a settings file uses."""

from __future__ import annotations

from charrnn.nn.cells.gru import GRU
from charrnn.nn.cells.lstm import LSTM
from charrnn.nn.cells.recurrent import RecurrentCell
from charrnn.nn.cells.rnn import RNN

CELLS: dict[str, type[RecurrentCell]] = {cls.name: cls for cls in (RNN, LSTM, GRU)}

__all__ = ["CELLS", "GRU", "LSTM", "RNN", "RecurrentCell"]
