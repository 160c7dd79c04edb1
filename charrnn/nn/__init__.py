"""Handwritten recurrent networks: cells, head, optimisers. Independent of files, settings and the terminal."""
