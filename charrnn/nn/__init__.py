"""Recurrent networks by hand: cells, head, optimisers. Knows nothing of files, settings or the terminal."""
