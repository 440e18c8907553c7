"""What every part needs of the operating system: files, sockets, descriptors, readiness, a log.

Nothing here knows what Crewgate does.
"""
