"""Detects a server that does not finish an HTTP/2 frame or header block (RFC 9113 §4.1)."""

class StalledFrameDetector:
    """Follows the received bytes of one connection."""

    @property
    def stream(self) -> int:
        """The stream of the last frame begun."""
    @property
    def is_whole(self) -> bool:
        """Whether every frame and header block that has begun is complete."""
    @property
    def is_late(self) -> bool:
        """Whether two calls of `seconds` found the same frame unfinished, and it still is."""
    def feed(self, data: bytes) -> None:
        """Follow bytes that have arrived."""
    def seconds(self, now: float) -> float:
        """Return for how long this method has found the same frame unfinished; 0 if none is."""
