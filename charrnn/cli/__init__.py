"""The command line: one file per command; see `charrnn.cli.app`."""
