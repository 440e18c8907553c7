"""The branches of an orchestrator: what it has signed, who signs, and what gateways know."""
