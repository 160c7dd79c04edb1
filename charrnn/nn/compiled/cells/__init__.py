"""The compiled versions of cells: `NAME.py` is that of the cell NAME; a cell without one runs on NumPy."""
