"""What a `SocketPoller` calls in a turn, as base classes for native code."""

class TurnWork:
    """Work that native code defers to the end of a turn. Only native code can subclass it."""

class Pollable(TurnWork):
    """A socket that native code watches; its work writes. Only native code can subclass it."""

class TurnCheck:
    """A check at the start of each turn. Only native code can subclass it."""
