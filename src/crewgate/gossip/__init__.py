"""Machines that gossip over real networks: sealed datagrams, streams, and a log on the disk."""
