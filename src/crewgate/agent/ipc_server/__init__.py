"""The agent's two sockets: who may attach, what each session asks, and what it is sent."""
