"""`crewgate serve`: agent and workers; `crewgate run`: an orchestrator and what it may reach."""
