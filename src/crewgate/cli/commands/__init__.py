"""One module for each subcommand of `crewgate`, imported when it runs."""
