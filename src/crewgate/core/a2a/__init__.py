"""The Agent2Agent protocol (A2A), as far as a gateway must understand it."""
