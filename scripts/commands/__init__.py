"""One module per subcommand: its `run` function holds the options and the work."""
