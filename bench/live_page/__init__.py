"""What the live page costs: its process, and the agents that it asks, while branches spend."""
