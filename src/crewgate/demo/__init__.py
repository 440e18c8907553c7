"""`crewgate demo`: an incident of an agent crew, played on a real gateway by real processes."""
