"""Pictures by matplotlib and plotext (extra `[plots]`), from numbers that others made."""
