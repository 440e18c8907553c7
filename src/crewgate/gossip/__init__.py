"""The gossip between machines over real networks.

`node` runs the protocol of `core/gossip` with the disk: the log of capsules, the certificates of
the members, and the view. `transport` runs it on sockets: encrypted datagrams, and mutual TLS
streams on which two members sync (`sync_session`). A capsule is on the disk before this machine
acknowledges it.
"""
