"""The owner's door: revoke, quarantine, tree, status, reload, each answered in turn.

Decides nothing: asks the machine and puts its answers into messages. Of the other machines see
`cluster_owner`.
"""

from collections.abc import Callable

import trio

from crewgate import limits
from crewgate.agent import status
from crewgate.agent.anomaly import remote_quarantines
from crewgate.agent.anomaly.minting_watch import grant_of
from crewgate.agent.ipc_server.message_stream import Conversation
from crewgate.agent.reload import reload_now
from crewgate.agent.revocation.disconnect_acks import Pending
from crewgate.agent.revocation.fanout import Told, ToldNames
from crewgate.agent.revocation.quorum_wait import Reaching
from crewgate.agent.revocation.seen_names import SEEN, Unseen, never_seen
from crewgate.agent.state import Machine
from crewgate.core import cross_crew_account
from crewgate.core.anomaly.enforcement import Word
from crewgate.core.audit import records
from crewgate.core.credits import format_credits
from crewgate.core.ids import branch_key
from crewgate.errors import ConfigurationError, LedgerUnavailableError, LinkError, RefusedError
from crewgate.ipc.admin_messages import (
    AskMint,
    AskReload,
    AskStatus,
    AskTree,
    Forgive,
    Forgiven,
    Minted,
    Name,
    NamesReceipt,
    OwnerAsks,
    Quarantine,
    Reach,
    Receipt,
    Reloaded,
    Report,
    Revoke,
    RevokeNames,
    Watched,
    owner_asks,
)
from crewgate.ipc.attach_messages import Failed
from crewgate.ipc.cluster_messages import ClusterAsks


async def converse(machine: Machine, stream: trio.SocketStream) -> None:
    """Serve one connection until it ends; LinkError if it breaks the protocol."""
    talk = Conversation(stream, owner_asks)
    try:
        while (ask := await talk.next()) is not None:
            await _answer_in_words(machine, talk, ask)
    finally:
        machine.reports.leave(talk)


async def _answer_in_words(machine: Machine, talk: Conversation[OwnerAsks], ask: OwnerAsks) -> None:
    """Also where the answer is that it will not be done."""
    try:
        if isinstance(ask, Report):
            machine.reports.hear(talk, ask, machine.clock.boot_ns())
        elif isinstance(ask, ClusterAsks):
            await _answer_of_others(machine, talk, ask)
        else:
            await _answer(machine, talk, ask)
    except (RefusedError, ConfigurationError) as error:
        await talk.say(Failed(id=ask.id, message=str(error)[: limits.link_note_chars_max]))


async def _answer(machine: Machine, talk: Conversation[OwnerAsks], ask: OwnerAsks) -> None:
    if isinstance(ask, Revoke):
        await talk.say(await revoke(machine, ask, read_ns=machine.clock.monotonic_ns()))
    elif isinstance(ask, RevokeNames):
        await talk.say(await revoke_names(machine, ask, read_ns=machine.clock.monotonic_ns()))
    elif isinstance(ask, Quarantine):
        await talk.say(await quarantine(machine, ask))
    elif isinstance(ask, Forgive):
        await talk.say(await forgive(machine, ask))
    elif isinstance(ask, AskMint):
        await talk.say(may_mint(machine, ask))
    elif isinstance(ask, AskStatus):
        await talk.say(status.status(machine, ask.id))
    elif isinstance(ask, AskReload):
        before = machine.inforce.policy.generation
        await reload_now(machine)
        after = machine.inforce.policy.generation
        await talk.say(Reloaded(id=ask.id, generation=after, changed=after != before))
    elif isinstance(ask, AskTree):
        found = await status.tree(machine)
        for page in status.pages(found, ask.id):
            await talk.say(page)
    else:
        raise LinkError("not a question of this door")


async def _answer_of_others(
    machine: Machine, talk: Conversation[OwnerAsks], ask: ClusterAsks
) -> None:
    if machine.telling.others is None:
        raise RefusedError(
            "this machine has no [cluster], so there are no others; add the section, as `crewgate "
            "init` writes it, and start again"
        )
    # As in `main._join`: a machine without peers need not load what this needs.
    from crewgate.agent.ipc_server import cluster_admin  # noqa: PLC0415

    await cluster_admin.answer(machine, talk, ask)


async def revoke(machine: Machine, ask: Revoke, read_ns: int) -> Receipt:
    """Enter the revocation, hear for a bounded time who has cut what, and write it all down."""
    told = machine.revoke(ask.name, ask.crew, target=ask.target)
    reach = Reaching(machine, told.abroad, ask.until, read_ns)
    await _cut(machine, told, reach, lambda: machine.close(told.done))
    unseen = SEEN
    if not told.pending.count:  # or else a call of it was cut
        unseen = await never_seen(machine, ask.target, ask.name, told.done.crew)
    receipt = _receipt(ask, told, read_ns, reach.said(), unseen)
    machine.record([_record(machine, receipt, told)])
    return receipt


async def revoke_names(
    machine: Machine, ask: RevokeNames, read_ns: int, *, is_known: bool = False
) -> NamesReceipt:
    """The same for certificates and orchestrators as such; `is_known`: the name is no mistake."""
    told = machine.revoke_names(ask.names)
    reach = Reaching(machine, told.abroad, ask.until, read_ns)
    await _cut(machine, told, reach)
    pending = told.pending
    named = [each.name for each in ask.names if each.kind == "orchestrator"]
    unseen = SEEN
    if len(named) == 1 and not is_known:
        unseen = await never_seen(machine, "orchestrator", named[0], "")
    receipt = NamesReceipt(
        id=ask.id,
        read_ns=read_ns,
        cut_ms=_cut_ms(pending, read_ns),
        calls_cut=pending.count,
        connections_closed=pending.connections,
        attachments=told.attachments,
        silent=len(pending.waiting),
        unlisted=told.unlisted,
        never_seen=unseen.where,
        never_seen_on=unseen.on,
        reach=reach.said(),
    )
    machine.record([_named(machine, name, receipt) for name in ask.names])
    return receipt


async def quarantine(machine: Machine, ask: Quarantine) -> Watched:
    """Set or lift it; the answer is given once the disk has it."""
    watching, clocks = machine.watching, machine.clock.read()
    is_one = not ask.lift and not ask.orchestrator.endswith("/*")
    unseen = await never_seen(machine, "orchestrator", ask.orchestrator, "") if is_one else SEEN
    if ask.lift:
        standing = watching.lift(ask.crew, ask.orchestrator, clocks)
    else:
        standing = watching.set(ask.crew, ask.orchestrator, clocks, ask.seconds)
    if machine.telling.others is not None:
        # An end that is moved forward must not be forgotten before the one it has taken the place
        # of: what was said earlier is over, and that is remembered for as long as it might last.
        words = (Word(standing.word.at), standing.word) if not ask.lift else (standing.word,)
        entries = [remote_quarantines.told(ask.crew, ask.orchestrator, word) for word in words]
        machine.telling.others.pass_on(entries)
    await trio.to_thread.run_sync(watching.sync)
    others = machine.telling.others
    machines = 1 if others is None else others.in_touch().members
    return Watched(
        id=ask.id,
        row=status.watch_row(standing),
        never_seen=unseen.where,
        never_seen_on=unseen.on,
        machines=machines,
    )


async def forgive(machine: Machine, ask: Forgive) -> Forgiven:
    """Give burned credit back, and write down that somebody did; RefusedError."""
    crew = machine.registry.whose(ask.branch, ask.crew, machine.inforce.policy.crews)
    key = branch_key(crew, ask.branch)
    try:
        amount = await machine.clerk.use(lambda ledger: ledger.forgive(key))
    except LedgerUnavailableError as error:
        raise RefusedError(f"the ledger does not answer: {error}") from error
    machine.lessor.lift(key)
    burned = f"{format_credits(amount)} credits that were burned are" if amount else "nothing was"
    machine.say(f"of branch {ask.branch} ({crew}) {burned} forgiven")
    return Forgiven(id=ask.id, branch=ask.branch, crew=crew, amount=amount)


def may_mint(machine: Machine, ask: AskMint) -> Minted:
    """Count what the token endpoint is about to hand out; RefusedError for what is no grant."""
    machine.watching.check(ask.crew, ask.claims.client_id)
    try:
        grant = grant_of(ask.claims, ask.crew, ask.kid)
    except ValueError as error:
        raise RefusedError(f"not a grant: {error}") from error
    return Minted(id=ask.id, admitted=machine.watching.admits(grant, machine.clock.read()))


async def _cut(
    machine: Machine,
    told: Told | ToldNames,
    reach: Reaching,
    then: Callable[[], object] = lambda: None,
) -> None:
    """Hear for a bounded time who has cut what; `then` is done once everybody is being told."""
    try:
        # What was queued for the guests leaves now, before credit is taken back.
        await trio.lowlevel.cancel_shielded_checkpoint()
        then()
        async with trio.open_nursery() as nursery:
            # Disk and other machines may take longer than the last cut: all are waited for at once.
            nursery.start_soon(reach.wait)
            with trio.move_on_after(limits.revocation_answer_seconds_max):
                await told.pending.wait()
    finally:
        machine.telling.end(told)


def _cut_ms(pending: Pending, read_ns: int) -> float:
    return max(0, pending.last_cut_ns - read_ns) / 1e6 if pending.last_cut_ns else 0.0


def _named(machine: Machine, name: Name, receipt: NamesReceipt) -> records.Revocation:
    return records.Revocation(
        crew=name.crew,
        orchestrator=name.name if name.kind == "orchestrator" else "",
        process="",
        role="",
        branch="",
        time=records.when(machine.clock.wall_ns()),
        target=name.kind,
        id=name.name,
        by="owner",
        cut_us=None if receipt.silent else round(receipt.cut_ms * 1000),
        cuts=receipt.calls_cut + receipt.connections_closed,
        workers=receipt.attachments - receipt.silent,
    )


def _receipt(ask: Revoke, told: Told, read_ns: int, reach: Reach, unseen: Unseen) -> Receipt:
    pending, done = told.pending, told.done
    return Receipt(
        id=ask.id,
        target=done.asked,
        name=done.name,
        crew=done.crew,
        read_ns=read_ns,
        last_cut_ns=pending.last_cut_ns,
        cut_ms=_cut_ms(pending, read_ns),
        streams_cut=pending.count,
        attachments=told.attachments,
        silent=len(pending.waiting),
        coarsened=done.coarsened,
        never_seen=unseen.where,
        never_seen_on=unseen.on,
        reach=reach,
    )


def _record(machine: Machine, receipt: Receipt, told: Told) -> records.Revocation:
    who = machine.registry.who(told.done.branch_key)
    who["crew"] = cross_crew_account.caller(receipt.crew)
    if receipt.target != "crew":
        who[receipt.target] = receipt.name
    answered = not told.pending.waiting
    return records.Revocation(
        **who,
        time=records.when(machine.clock.wall_ns()),
        target=told.done.target,
        id=told.done.id,
        by="owner",
        cut_us=round(receipt.cut_ms * 1000) if answered else None,
        cuts=receipt.streams_cut,
        workers=receipt.attachments - receipt.silent,
    )
