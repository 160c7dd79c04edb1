"""Character-level text generation with recurrent networks in NumPy alone.

>>> import charrnn
>>> run = charrnn.load("checkpoints/quickstart")  # doctest: +SKIP
>>> print("".join(run.sample("The ", length=200, temperature=0.7)))  # doctest: +SKIP
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
