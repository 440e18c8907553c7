"""Operating-system helpers for every process: files, sockets, descriptors, readiness, a log.

Nothing here depends on what Crewgate does.
"""
