"""`crewgate serve`: starts the agent, the control process and workers, and keeps them running."""
