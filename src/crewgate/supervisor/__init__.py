"""`crewgate serve`: starts the agent and the workers, restarts what dies, ends with all of them."""
