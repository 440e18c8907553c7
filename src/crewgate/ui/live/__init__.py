"""The live feed: one reader for all watchers, which asks all machines once a second.

A watcher gets only what its person may view. One that reads slowly begins anew instead of being
buffered, and delays no other.
"""
