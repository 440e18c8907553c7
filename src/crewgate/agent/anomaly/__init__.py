"""The minting watch of this machine, and the quarantines that other machines announce.

The rules are in `core/anomaly`. This package passes them the grants that the agent sees, applies
their decisions, and announces each quarantine to the other machines.
"""
