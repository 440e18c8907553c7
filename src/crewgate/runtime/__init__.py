"""What every part needs of the operating system: files, sockets, descriptors, readiness.

Nothing here knows Crewgate.
"""
