"""The output of `crewgate audit explain`: one document for a script, or a chain for a person."""

import json
from collections.abc import Iterator

import click
import msgspec

from crewgate.audit.explanation import BranchAuthority, CallExplanation
from crewgate.audit.query_results import CallRow, RecordedRuleStep
from crewgate.cli.output.tables import print_labeled, utc
from crewgate.cli.tokens import binding_words
from crewgate.config import Config
from crewgate.core.credits import format_credits
from crewgate.core.reasons import Reason
from crewgate.core.rules.finding_text import count_text, step_text
from crewgate.core.terminal_text import printable
from crewgate.core.tokens.claims import Confirmation, process_text
from crewgate.core.tokens.subjects import provider_in

_LABEL_WIDTH = 12


def show(found: CallExplanation, config: Config, *, as_json: bool) -> None:
    """Print the chain on standard output: the person first, the call last.

    The configuration says which subjects an identity provider has named, and who answers for the
    crew.
    """
    call = found.call
    provider = provider_in(call.subject, [each.name for each in config.identity_providers])
    sponsor = next((each.sponsor for each in config.crews if each.name == call.crew), "")
    if as_json:
        document = msgspec.to_builtins(found) | {
            "identity_provider": provider,
            "sponsor": sponsor or None,
        }
        click.echo(json.dumps(document, indent=2))
        return
    for label, texts in _chain(found, provider, sponsor):
        for number, text in enumerate(texts):
            print_labeled("" if number else label, printable(text), _LABEL_WIDTH)


def _chain(
    found: CallExplanation, provider: str | None, sponsor: str
) -> Iterator[tuple[str, list[str]]]:
    call = found.call
    own = found.branches[-1].grant
    yield "asked by", [_subject(call, provider)]
    if sponsor:
        yield "sponsor", [f"{sponsor}, who answers for crew {call.crew}"]
    key = f", with key {own.kid}" if own else ""
    yield "signed by", [f"orchestrator {call.orchestrator}{key}"]
    for level, branch in enumerate(found.branches[:-1]):
        yield ("branch" if level else "run"), list(_branch(branch))
    yield ("branch" if call.ancestry else "run"), list(_caller(found.branches[-1], call))
    if found.same_id_grants > 1:
        yield (
            "warning",
            [
                f"the orchestrator has signed {found.same_id_grants} grants with this id:",
                call.grant,
                "this is the newest, and the call may have had another one",
            ],
        )
    yield "call", list(_call(call))
    for row in found.rules:
        yield "rule", list(_rule(row, call))


def _subject(call: CallRow, provider: str | None) -> str:
    if provider is not None:
        return f"{call.subject}, whom identity provider {provider} has named"
    if call.subject == call.orchestrator:
        return f"{call.subject}: the orchestrator itself"
    return f"{call.subject}, as the orchestrator states"


def _caller(level: BranchAuthority, call: CallRow) -> Iterator[str]:
    """Yield lines about the branch that called; of a refused token, only the call is known."""
    if level.grant is not None:
        yield from _branch(level)
        return
    yield level.branch
    yield f"role {call.role}, process {process_text(call.process, is_proven=call.process_proven)}"
    yield f"grant {call.grant}"
    yield "this machine has admitted no call with this grant, so it has not recorded more"


def _branch(level: BranchAuthority) -> Iterator[str]:
    yield level.branch
    grant = level.grant
    if grant is None:
        yield "this machine has not recorded its grant"
        if level.stated_micro is not None:
            yield f"{format_credits(level.stated_micro)} credits, as the grant below states"
        return
    process = process_text(grant.process, is_proven=grant.process_proven)
    yield f"role {grant.role}, process {process}"
    yield f"may use {', '.join(grant.tools)}"
    yield f"may spend {format_credits(grant.quota_micro)} credits"
    yield f"grant {grant.grant}"
    yield f"from {utc(grant.issued)[:19]} to {utc(grant.expires)[:19]} UTC"
    for words in binding_words(Confirmation(grant.jkt or None, grant.x5t or None)):
        yield f"bound to {words}"


def _rule(row: RecordedRuleStep, call: CallRow) -> Iterator[str]:
    """Yield lines about a step of a rule: what it counted, and at which call."""
    finding = row.finding
    yield f"{row.rule} counted {count_text(finding)}; {step_text(finding)}"
    if row.caller:
        yield f"of branch {row.branch}"
    if row.request != call.request:
        yield f"since {utc(row.time)} UTC, call {row.request}"


def _call(call: CallRow) -> Iterator[str]:
    yield call.request
    yield f"{utc(call.time)} UTC, {call.method} {call.tool or '(no tool)'}".replace(" ,", ",")
    yield f"at listener {call.listener}, from {call.peer}" + (
        f", on {call.machine}" if call.machine else ""
    )
    if call.certificate:
        yield f"over a connection with certificate {call.certificate}"
    if call.verdict == "deny":
        yield f"refused: {call.reason}" + (
            f", by the limit {call.call_limit}" if call.call_limit else ""
        )
        if call.reason == Reason.BRANCH_REVOKED.value:
            yield "`crewgate revocations` says who revoked it, and why"
        return
    if call.would:
        yield f"permitted only in observe mode; else refused: {call.would}"
    ended = f"{call.outcome} {call.status or ''}".strip()
    yield f"permitted, {ended}, cost {format_credits(call.cost_micro)} credits"
