"""The command line: one file a command; see `charrnn.cli.app`."""
