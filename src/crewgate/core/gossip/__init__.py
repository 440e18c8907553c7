"""How machines tell one another of revocations: a protocol without sockets, clocks or dice."""
