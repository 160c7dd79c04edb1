"""Texts: where they come from, their symbols, their ids on disk, the windows that training reads."""
