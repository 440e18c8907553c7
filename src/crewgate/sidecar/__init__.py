"""`crewgate run`: one orchestrator's process, and its way to the gateway."""
