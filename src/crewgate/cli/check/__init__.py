"""The checks of `crewgate check`: whether the files that a configuration names can be used."""
