"""The processes of sub-agents that an orchestrator has started, each behind its sidecar."""
