"""The audit's files: written by each process on its own, read together by one query."""
