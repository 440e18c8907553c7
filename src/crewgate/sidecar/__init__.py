"""`crewgate run`: runs the process of one orchestrator and connects it to the gateway.

The process calls a local socket. The sidecar adds the orchestrator's certificate, which the process
never sees, and renews it.
"""
