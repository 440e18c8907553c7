"""The base class of wire protocols that read and write without a Python object for each read."""

class NativeWireProtocol:
    """A `WireProtocol` (crewgate/server/protocol.py) that a client's socket calls in native code.

    Only native code can subclass it directly. A subclass in Python adds `paused`, `has_output` and
    `sent_all`, unless the native class has them.
    """
