"""The minting watch of this machine, and quarantines that other machines announce.

The rules are in `core/anomaly`. This package feeds them with the grants that the agent sees,
applies what they order, and announces each order to the other machines.
"""
