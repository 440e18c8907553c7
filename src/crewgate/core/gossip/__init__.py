"""The gossip protocol between machines, without sockets, clocks or randomness of its own.

A capsule holds revocations that one member has signed. `dissemination` pushes new capsules to
random members. `anti_entropy` compares what two members have accepted, so that none is missed.
`acknowledgements` counts the members that have a capsule on their disks. `membership` follows SWIM.
`quorum_freshness` computes until when a machine may admit calls: while it has recently compared
with a majority. `protocol` is one member: messages in, effects out.
"""
