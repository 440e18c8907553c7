"""Bodies: 64 KiB at once and in pieces, down and up."""

from pathlib import Path

from bench.hop.arena import Arena
from bench.hop.figures import Measured, interleaved
from bench.hop.groups.group import Group
from bench.hop.load import Load, Shape
from bench.hop.tools import LARGE, PAGE, STREAM, TAKE

SHAPE = Shape(16, 8)
BODY_BYTES = 64 * 1024


def body(folder: Path) -> Path:
    """A file for h2load to send."""
    path = folder / "body"
    path.write_bytes(b"u" * BODY_BYTES)
    return path


def measure(arena: Arena) -> list[Measured]:
    """All gateways."""
    upload = body(arena.folder)
    loads = {
        "answer of 200 bytes": Load(SHAPE, PAGE.path),
        "answer of 64 KiB": Load(SHAPE, LARGE.path),
        "answer of 16 × 4 KiB, streamed": Load(SHAPE, STREAM.path),
        "request of 64 KiB": Load(SHAPE, TAKE.path, body=upload),
    }
    cases = [
        arena.case(title, gateway, load)
        for title, load in loads.items()
        for gateway in arena.gateways
    ]
    return interleaved(cases, arena.rounds, arena.requests)


GROUP = Group("bodies", f"Bodies, {SHAPE.name}", measure, rounds=0.6, requests=0.2)
