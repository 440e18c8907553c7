"""This machine as a member of a cluster: what it sends to the others and applies from them.

`cluster` joins the gossip to the agent. Without an acknowledgement quorum it refuses all calls.
"""
