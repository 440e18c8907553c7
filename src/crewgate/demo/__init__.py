"""`crewgate demo`: an incident of an agent crew, played by real processes on real gateways."""
