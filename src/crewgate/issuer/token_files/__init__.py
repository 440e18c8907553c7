"""Token files: a current token for other processes, in a file that the orchestrator renews."""
