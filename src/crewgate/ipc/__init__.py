"""The agent's unix sockets, as other processes use them: frames, messages and clients."""
