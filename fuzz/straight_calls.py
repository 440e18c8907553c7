"""Compares straight calls with ordinary ones, for calls that are made of changed inputs.

No call may make an internal error. An input is kept if one of its calls does what no call before it
did: in how it ends, what the client, the tool and the audit get, and whether compiled code carries
it. Prints how many inputs there were. If the ways differ, the input stays in
build/fuzz/straight_calls, and the status is 1.
"""

import argparse
import hashlib
import logging
import random
import sys
import tempfile
import time
from pathlib import Path

import trio

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "support"))

from straight_replay import CORPUS, DifferenceError, configured, play  # noqa: E402
from two_ways import Seen, Way, two_ways  # noqa: E402

FOUND = ROOT / "build" / "fuzz" / "straight_calls"
INPUT_BYTES_MAX = 256
GATEWAY_INPUTS = 400  # then other gateways follow: these would have no credit in the end
KEPT_BYTES_MAX = 4096  # as of each target
KEPT_INPUTS_MAX = 40
WORDS = (b"\0", b"\1", b"\xff", bytes(4), b"\x10\1", b"\x80\4")


class Errors(logging.Handler):
    """Keeps the internal errors that are logged; the log says nothing else."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []
        logging.basicConfig(handlers=[self], level=logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.texts.append(self.format(record))

    def check(self) -> None:
        """Raise DifferenceError if there was an error since the last check."""
        texts, self.texts = self.texts, []
        if texts:
            raise DifferenceError("\n".join(texts))


class Search:
    """The inputs that are kept, and what their calls did."""

    def __init__(self, seed: int) -> None:
        self.errors = Errors()
        self.choose = random.Random(seed)
        self.inputs = [bytes([1 << bit]) for bit in range(8)]
        self.inputs += [path.read_bytes() for path in sorted(CORPUS.iterdir())]
        self.inputs += [path.read_bytes() for path in sorted((FOUND / "corpus").iterdir())]
        self.seen: set[object] = set()
        self.count = self.straight = self.alone = 0

    def changed(self) -> bytes:
        """An input, changed in some places."""
        choose = self.choose
        data = bytearray(choose.choice(self.inputs))
        for _ in range(choose.choice((1, 1, 2, 3, 5, 8))):
            at = choose.randrange(len(data) + 1)
            match choose.choice(("insert", "delete", "splice", "replace", "flip")):
                case "insert":
                    data[at:at] = choose.choice(WORDS)
                case "delete":
                    del data[at : at + choose.randrange(1, 5)]
                case "splice":
                    other = choose.choice(self.inputs)
                    data[at:] = other[choose.randrange(len(other) + 1) :]
                case "replace":
                    data[at : at + 1] = choose.randbytes(1)
                case _:
                    data[at : at + 1] = [
                        byte ^ 1 << choose.randrange(8) for byte in data[at : at + 1]
                    ]
        return bytes(data[:INPUT_BYTES_MAX])

    def note(self, played: list[tuple[Seen, tuple[int, int]]]) -> bool:
        """Count an input by what its calls did; return whether one of them is new."""
        self.count += 1
        before: object = None
        new = False
        for seen, counts in played:
            self.straight += counts[0]
            heads = [(dict(block).get(b":status"), len(block)) for block in seen.blocks]
            records = [(each.get("outcome"), each.get("reason")) for each in seen.records]
            call = (counts, *heads, seen.reset, len(seen.requests), len(seen.body) > 0, *records)
            new = new or (before, call) not in self.seen
            self.seen.add((before, call))
            before = call[:2]
        return new

    def add(self, data: bytes) -> None:
        """Keep an input."""
        self.inputs.append(data)
        (FOUND / "corpus" / f"{len(self.inputs):06}").write_bytes(data)


def _forget(ways: tuple[Way, Way]) -> None:
    for way in ways:
        way.site.asked.clear()
        way.site.world.sink.records.clear()


async def _differs(data: bytes, errors: Errors) -> bool:
    """Whether an input makes two new gateways differ, or makes an error."""
    with tempfile.TemporaryDirectory() as folder:
        async with two_ways(Path(folder), configured) as ways:
            try:
                await play(ways, data)
                errors.check()
            except DifferenceError as error:
                print(error, flush=True)
                return True
    return False


async def _search(search: Search, until: float) -> bytes | None:
    """Try inputs on two gateways; return one for which they differ."""
    with tempfile.TemporaryDirectory() as folder:
        async with two_ways(Path(folder), configured) as ways:
            for _ in range(GATEWAY_INPUTS):
                if time.monotonic() >= until:
                    break
                data = search.changed()
                try:
                    if search.note(await play(ways, data)):
                        search.add(data)
                    search.errors.check()
                except DifferenceError:
                    return data
                _forget(ways)
            if ways[0].metrics() != ways[1].metrics():
                print("the metrics differ:", *ways[0].metrics(), "", *ways[1].metrics(), sep="\n")
                sys.exit(1)
    return None


async def _run(seconds: float, seed: int) -> int:
    search, until = Search(seed), time.monotonic() + seconds
    while time.monotonic() < until:
        data = await _search(search, until)
        if data is None:
            continue
        if await _differs(data, search.errors):
            (FOUND / "difference").write_bytes(data)
            print(
                f"straight_calls: broken; again with {sys.argv[0]} --input {FOUND / 'difference'}"
            )
            return 1
        search.alone += 1
    print(
        f"straight_calls: {search.count} inputs, {search.straight} straight calls, "
        f"{len(search.seen)} kinds; {search.alone} differed only after others",
        flush=True,
    )
    return 0


async def _keep(search: Search) -> None:
    """Add some of the inputs that do something new to the kept ones, of all lengths."""
    with tempfile.TemporaryDirectory() as folder:
        async with two_ways(Path(folder), configured) as ways:
            found = sorted(set(search.inputs), key=lambda data: (len(data), data))
            new = [data for data in found if search.note(await play(ways, data))]
    room = KEPT_BYTES_MAX - sum(path.stat().st_size for path in CORPUS.iterdir())
    places = KEPT_INPUTS_MAX - len(list(CORPUS.iterdir()))
    for data in new[:: max(1, -(-len(new) // max(1, places)))] if places > 0 else []:
        if len(data) <= room:
            (CORPUS / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
            room -= len(data)


def main() -> None:
    """Search for so many seconds, or play one input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--input", type=Path, help="play this one alone")
    parser.add_argument("--keep", action="store_true", help="add what was found to corpus/")
    given = parser.parse_args()
    for folder in (CORPUS, FOUND / "corpus"):
        folder.mkdir(parents=True, exist_ok=True)
    if given.input is not None:
        sys.exit(trio.run(_differs, given.input.read_bytes(), Errors()))
    status = trio.run(_run, given.seconds, given.seed)
    if given.keep and not status:
        trio.run(_keep, Search(given.seed))
    sys.exit(status)


if __name__ == "__main__":
    main()
