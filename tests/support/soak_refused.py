"""Calls of a soak that the gateway must refuse, each with the one answer that is right.

`recorded` refusals came with a good signature: each has a record of its own in the audit.
"""

from typing import NamedTuple

import trio
from soak_http import Field
from soak_kinds import Caller, Kind, Seen, call, seen

BODY = bytes(300_000)
SPENT_CREDIT, SPENT_CALLS = "0.05", 5  # of the tool `soak.call`


class Refusal(NamedTuple):
    """A kind of call, and what must be said to it."""

    kind: Kind
    outcome: str
    recorded: bool


def posted(path: bytes = b"/call", *fields: Field, token: str | None = None) -> Kind:
    """A small call; of the caller's own branch unless a token is given."""

    async def kind(caller: Caller) -> Seen:
        ask = await caller.ask(b"POST", path, length=2, fields=fields, token=token)
        await ask.send(b"{}")
        await ask.end()
        return seen(await ask.answer())

    return kind


async def tampered(caller: Caller) -> Seen:
    """A token with a letter of its signature exchanged; the body is large, and in vain."""
    token = caller.branch.token
    letter = "A" if token[-20] != "A" else "B"
    ask = await caller.ask(
        b"PUT", b"/files/1", length=len(BODY), token=token[:-20] + letter + token[-19:]
    )
    await ask.send(BODY)
    await ask.end()
    return seen(await ask.answer())


async def stale(caller: Caller) -> Seen:
    """A token that was good once."""
    ask = await caller.ask(b"POST", b"/call", token=caller.population.stale)
    await ask.end()
    return seen(await ask.answer())


async def narrow(caller: Caller) -> Seen:
    """An upload under a grant that names other tools."""
    branch = caller.population.narrow
    ask = await caller.ask(b"PUT", b"/files/1", length=len(BODY), token=branch.token)
    await ask.send(BODY)
    await ask.end()
    return seen(await ask.answer())


async def dead(caller: Caller) -> Seen:
    """A branch that was ended some time ago."""
    gone = caller.population.dead
    ask = await caller.ask(b"POST", b"/call", token=gone[caller.below(len(gone))].token)
    await ask.end()
    return seen(await ask.answer())


async def twice(caller: Caller) -> Seen:
    """The same token in two places."""
    credential = b"authorization", f"Bearer {caller.branch.token}".encode()
    return await posted(b"/call", credential)(caller)


async def in_query(caller: Caller) -> Seen:
    """A token where logs would find it."""
    return await posted(b"/call?access_token=" + caller.branch.token.encode())(caller)


FORGED = (b"x_crewgate_branch", b"0199c1d2-0000-7000-8000-000000000001")
NOT_A_TOKEN = "eyJhbGciOiJub25lIn0.e30."
REFUSALS: dict[str, Refusal] = {
    "no token": Refusal(posted(token=""), "401 missing-token", recorded=False),
    "no such token": Refusal(posted(token=NOT_A_TOKEN), "401 invalid-token", recorded=False),
    "tampered": Refusal(tampered, "401 invalid-token", recorded=False),
    "stale": Refusal(stale, "401 token-expired", recorded=True),
    "twice": Refusal(twice, "400 invalid-request", recorded=False),
    "in the query": Refusal(in_query, "400 invalid-request", recorded=False),
    "forged field": Refusal(posted(b"/call", FORGED), "400 invalid-request", recorded=True),
    "dots": Refusal(posted(b"/pages/../call"), "400 invalid-request", recorded=False),
    "no such tool": Refusal(posted(b"/nothing"), "404 unknown-tool", recorded=True),
    "foreign tool": Refusal(posted(b"/other"), "403 tool-not-allowed", recorded=True),
    "outside the grant": Refusal(narrow, "403 tool-not-allowed", recorded=True),
    "ended branch": Refusal(dead, "401 branch-revoked", recorded=True),
}


async def spent(caller: Caller) -> Seen:
    """Calls of a new branch that can pay for some of them: for so many and no more."""
    caller.branch = await trio.to_thread.run_sync(caller.population.spawn, SPENT_CREDIT)
    admitted = 0
    for _ in range(SPENT_CALLS + 3):
        found = seen(await call(caller, b"/call"))
        caller.note(found)
        admitted += found.outcome == "200"
        if found.outcome not in {"200", "403 credits-exhausted"}:
            return found
    return Seen("spent" if admitted == SPENT_CALLS else f"admitted {admitted} of {SPENT_CALLS}")
