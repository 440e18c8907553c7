"""What the control process found out, in the words of its API."""

import pytest
from cryptography import x509
from revocation_targets import certificate, orchestrator

from crewgate.ca import revocation_propagation
from crewgate.control.responses import branch, host, revoked
from crewgate.core.rules.rule import RuleMode, RuleStep
from crewgate.errors import CAError
from crewgate.ipc.admin_messages import QuorumResult, RevocationReceipt
from crewgate.ipc.cluster_tree import ClusterTreeRow, MachineShare


@pytest.mark.parametrize("text", ["edge", "edge.example", "a-b.c", "x" * 63 + ".y", "Edge.EXAMPLE"])
def test_a_name_of_the_dns_is_one(text: str) -> None:
    """RFC 1123, section 2.1."""
    assert host(text) == x509.DNSName(text)


@pytest.mark.parametrize("text", ["192.0.2.1", "2001:db8::1", "::1"])
def test_an_address_is_one(text: str) -> None:
    """Of either family."""
    assert isinstance(host(text), x509.IPAddress)


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.", ".a", "a..b", "-a", "a-", "a b", "a_b", "*.a", "a/b", "a\n", "a\0b", "é",
     "x" * 64, "a." * 127 + "a", "192.0.2.1/24", "spiffe://x", "[::1]", "a:1"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    """No wildcard, no network, no byte that a reader could take for another name."""
    with pytest.raises(CAError):
        host(text)


def test_a_row_of_the_tree_keeps_its_amounts() -> None:
    """Micro-credits, with the unit in the name; -1 stays unknown."""
    share = MachineShare("gw-2", "live", spent=2, reserved=4, leased=5)
    row = ClusterTreeRow(
        "bd", "b", "live", quota=3, spent=2, burned=1, calls=7, rule="same-call",
        rule_step=RuleStep.WARN, rule_mode=RuleMode.OBSERVE, machines=(share,),
    )  # fmt: skip
    found = branch(row)
    assert (found.calls, found.rule, found.rule_step) == (7, "same-call", RuleStep.WARN)
    assert (found.quota_micro, found.spent_micro, found.burned_micro) == (3, 2, 1)
    assert found.left_micro == -1
    (there,) = found.machines
    assert (there.machine, there.state) == ("gw-2", "live")
    assert (there.spent_micro, there.reserved_micro, there.leased_micro) == (2, 4, 5)


def test_an_agent_that_was_away_is_missing() -> None:
    """The answer says that nobody here has heard yet."""
    away = revoked(certificate(11), None)
    assert (away.applied_on, away.of, away.missing) == (0, 1, ["this machine"])
    assert not away.enough
    told = RevocationReceipt(
        calls_cut=1, connections_closed=2, cut_ms=3.5, attachments=4, unresponsive=1, unlisted=2
    )
    done = revoked(certificate(11), told)
    assert (done.applied_on, done.missing, done.enough) == (1, [], True)
    assert (done.calls_cut, done.connections_closed, done.ms) == (1, 2, 3.5)
    assert (done.processes, done.unresponsive, done.unlisted) == (4, 1, 2)


def test_one_step_that_came_to_too_few_is_not_enough() -> None:
    """Whatever the others say: a majority has all of it, or has it not."""
    few = QuorumResult(until="quorum", applied_on=2, of=3, missing=["b"], enough=False)
    many = QuorumResult(until="quorum", applied_on=2, of=3, missing=["b"], ms=9.0)
    told = RevocationReceipt(read_ns=1, reach=many)
    for each in (few, many):
        told = revocation_propagation.sum_of(
            told, RevocationReceipt(read_ns=1, attachments=1, reach=each)
        )
    said = revoked(orchestrator("bd/bd-1", "bd"), told)
    assert (said.enough, said.applied_on, said.of, said.missing) == (False, 2, 3, ["b"])
