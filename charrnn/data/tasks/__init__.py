"""Generators of texts whose exact entropy is known: no model can have a lower loss, and a perfect one has this.

A task knows numbers only: symbols are indices into its `alphabet`. Adding one is a file with a frozen dataclass as
`Task` describes it, and a line in `TASKS`.
"""

from __future__ import annotations

from typing import Any

from charrnn.data.tasks.base import FloatArray, Task
from charrnn.data.tasks.brackets import Brackets
from charrnn.data.tasks.markov import Markov
from charrnn.data.tasks.recall import Recall
from charrnn.nn.params import IntArray

__all__ = ["TASKS", "FloatArray", "IntArray", "Task"]

TASKS: dict[str, Any] = {"recall": Recall, "brackets": Brackets, "markov": Markov}
