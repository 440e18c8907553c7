"""The gossip between machines over real networks.

`node` runs the protocol of `core/gossip`: encrypted datagrams, mutual TLS streams for comparisons,
a log of capsules on the disk, and the certificates of the members. A capsule is on the disk before
this machine acknowledges it.
"""
