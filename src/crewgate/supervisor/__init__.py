"""`crewgate serve`: starts the agent, the control process and the workers, and restarts them."""
