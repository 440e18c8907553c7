"""The worker process: listeners, the active configuration, and the connection to the agent."""
