"""What `crewgate check` finds in the files that a configuration names."""
