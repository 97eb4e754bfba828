"""One module a subcommand: its flags (`configure`) and what it does (`execute`)."""
