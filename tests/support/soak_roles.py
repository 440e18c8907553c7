"""Who calls in a soak: how many callers of which kind, how often, and what they may come to see."""

from typing import NamedTuple

import soak_kinds as kinds
from soak_kinds import FAILED, LEAVING, MOODS, SHUT, WHOLE, Kind
from soak_refused import REFUSALS, spent

LONG = 10**6  # events that nobody waits to the end of


class Part(NamedTuple):
    """A kind of caller. `may` holds the outcomes that are right whatever else goes on.

    `own`: on a connection that nobody shares; `brief`: with a token that ends in seconds; `mints`:
    makes branches; `lasts`: as long as the load, and bounds its own waits.
    """

    name: str
    kind: Kind
    callers: int
    pause: float  # seconds between two calls of one caller, about
    may: set[str]
    own: bool = False
    brief: bool = False
    mints: bool = False
    lasts: bool = False
    recorded: bool = True


# A tool's server that dies in between; a clean end without all of it is never right.
DYING = {*WHOLE, *FAILED, *SHUT, "504 upstream-timeout", "torn"}


def parts() -> list[Part]:
    """Everybody."""
    return [
        Part("call", kinds.plain(b"/call"), 12, 0.04, WHOLE),
        Part("call for nothing", kinds.plain(b"/free"), 2, 0.1, WHOLE),
        Part("call judged by its body", kinds.plain(b"/judged"), 2, 0.1, WHOLE),
        Part("call under observation", kinds.plain(b"/observed"), 1, 0.1, WHOLE),
        Part("call of a new tool", kinds.plain(b"/extra"), 1, 0.1, {*WHOLE, "404 unknown-tool"}),
        Part("page", kinds.paged(b"/pages", 200_000), 3, 0.1, WHOLE),
        Part("page, slowly", kinds.sipped(b"/pages"), 3, 0.2, WHOLE),
        Part("stream", kinds.streamed(b"/events", 20, 0.02), 4, 0.2, WHOLE),
        Part("long stream", kinds.streamed(b"/events", LONG, 0.2), 6, 0.2, {"left"}, lasts=True),
        Part(
            "stream beyond its token",
            kinds.streamed(b"/events", LONG, 0.1),
            1,
            1.0,
            {"cut token-expired", "left"},
            brief=True,
            mints=True,
        ),
        Part("upload", kinds.uploaded(b"/files/1", told=True), 2, 0.3, WHOLE),
        Part("upload of unknown length", kinds.uploaded(b"/files/2", told=False), 2, 0.3, WHOLE),
        Part("upload, slowly", kinds.trickled(b"/files/3"), 3, 0.2, WHOLE),
        Part("left before the answer", kinds.left_waiting, 2, 0.2, {"left"}),
        Part("left in mid-answer", kinds.left_reading, 2, 0.3, {"left"}),
        Part("left in mid-upload", kinds.left_sending, 2, 0.3, {"left"}),
        Part("dying: call", kinds.plain(b"/mortal/call"), 4, 0.05, DYING),
        Part("dying: page", kinds.paged(b"/mortal/pages", 300_000), 2, 0.1, DYING),
        Part("dying: stream", kinds.streamed(b"/mortal/events", 40, 0.05), 3, 0.2, DYING),
        Part(
            "dying: upload",
            kinds.uploaded(b"/mortal/files/1", told=False, most=2**20),
            2,
            0.2,
            DYING,
        ),
        Part("secure: call", kinds.plain(b"/secure/call"), 2, 0.1, WHOLE),
        Part(
            "secure: upload",
            kinds.uploaded(b"/secure/files/1", told=True, most=2**20),
            1,
            0.3,
            WHOLE,
        ),
        Part("plexed: call", kinds.plain(b"/plexed/call"), 4, 0.05, DYING),
        Part("plexed: page", kinds.paged(b"/plexed/pages", 300_000), 2, 0.1, DYING),
        Part("plexed: stream", kinds.streamed(b"/plexed/events", 40, 0.05), 3, 0.2, DYING),
        Part(
            "plexed: upload",
            kinds.uploaded(b"/plexed/files/1", told=False, most=2**20),
            2,
            0.3,
            DYING,
        ),
        Part("plexed: reset", kinds.mood("reset", b"/plexed/mood/"), 1, 0.5, DYING - WHOLE),
        Part("impatient: call", kinds.plain(b"/impatient/call"), 2, 0.1, DYING),
        Part("hanging: call", kinds.plain(b"/hanging/call"), 2, 0.1, WHOLE),
        *_moody(),
        *_refused(),
        Part("spent", spent, 1, 1.5, {"spent", "200", "403 credits-exhausted"}, mints=True),
    ]


def _moody() -> list[Part]:
    moods = [
        Part(f"mood: {name}", kinds.mood(name), 1, 1.0, {*may, *SHUT})
        for name, may in MOODS.items()
    ]
    leaving = [
        Part(f"leaving: {name}", kinds.mood(name, b"/leaving/mood/"), 1, 0.5, {*may, *SHUT})
        for name, may in LEAVING.items()
    ]
    blind = Part("leaving: upload", kinds.uploaded_blindly, 1, 0.5, {*LEAVING["early"], *SHUT})
    # Good calls in between, so that the server is not taken for dead.
    good = Part("moody: call", kinds.plain(b"/moody/call"), 2, 0.05, {*WHOLE, *SHUT})
    return [good, *moods, *leaving, blind]


def _refused() -> list[Part]:
    return [
        Part(
            f"refused: {name}",
            refusal.kind,
            1,
            0.4,
            {refusal.outcome},
            recorded=refusal.recorded,
        )
        for name, refusal in REFUSALS.items()
    ]
