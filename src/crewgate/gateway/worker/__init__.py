"""The worker process: its listeners, its configuration, and its connection to the agent."""
