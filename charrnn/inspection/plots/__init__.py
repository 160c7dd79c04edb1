"""Plots by matplotlib and plotext (extra `[plots]`), from numbers computed elsewhere."""
