"""The command line, one file per command: `flags(parser)` says what it takes, `run(options)` does it."""
