"""Clients of the control API, over mutual TLS or the socket of `crewgate run`."""
