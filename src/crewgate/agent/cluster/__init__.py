"""This machine as a member of a cluster: sends revocations to the members and applies theirs.

`cluster` connects the gossip with the agent. A machine that lacks recent revocations refuses calls.
"""
