"""The gossip protocol between machines, without sockets, clocks or randomness of its own.

A capsule holds revocations that one member signed. `dissemination` pushes new capsules to random
members, `anti_entropy` compares what two members have accepted, so none is missed. `membership`
follows SWIM. `freshness` says until when a machine may admit calls: as long as it has compared
recently with a majority. `protocol` is one member: messages in, effects out.
"""
