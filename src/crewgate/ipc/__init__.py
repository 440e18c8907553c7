"""The agent's unix sockets as everybody else sees them: frames, messages and a blocking client."""
