"""One module for each subcommand of `crewgate`. A module is imported when its command runs."""
