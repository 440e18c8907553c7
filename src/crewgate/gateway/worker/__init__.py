"""The worker process: listeners, the configuration in force, and the connection to the agent."""
