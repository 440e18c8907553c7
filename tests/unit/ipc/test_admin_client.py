"""The owner's connection against a scripted agent behind a real socket."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from grant_builders import grant
from revocation_targets import branch

from crewgate import limits
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import ServiceConnectionError, ServiceRefusedError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import (
    AdminRequest,
    CheckMint,
    MintDecision,
    MintingWatchRow,
    Quarantine,
    QuarantineResult,
    QuorumResult,
    ReloadResult,
    RevocationReceipt,
    TreePage,
    TreeRow,
    owner_answers,
    owner_asks,
)
from crewgate.ipc.attach_messages import RequestFailed, pack, unpack
from crewgate.ipc.cluster_messages import EvictMember, MemberRow, MembersPage
from crewgate.ipc.frames import FrameDecoder
from crewgate.ipc.sockets import AgentSocketKind, connectable

Answer = Callable[[AdminRequest], bytes]
RECEIPT = RevocationReceipt(
    id=1,
    targets=[branch("b", "article")],
    read_ns=5,
    attachments=1,
)


@contextmanager
def _asking(folder: Path, answer: Answer) -> Iterator[AdminClient]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connectable(folder, AgentSocketKind.OWNER.value) as where:
        listener.bind(where)
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            (body,) = FrameDecoder().feed(connection.recv(65536))
            connection.sendall(answer(unpack(owner_asks, body)))

    thread = threading.Thread(target=serve)
    thread.start()
    with listener, AdminClient(folder) as owner:
        yield owner
    thread.join()


def test_revoke_returns_the_receipt(tmp_path: Path) -> None:
    """The receipt arrives as the agent wrote it."""
    with _asking(tmp_path, lambda ask: pack(RECEIPT)) as owner:
        assert owner.revoke([branch("b", "article")]) == RECEIPT


@pytest.mark.parametrize("seconds", [0, 90])
def test_a_quarantine_says_whose_and_what_holds_now(tmp_path: Path, seconds: int) -> None:
    """Crew and client_id go separately: a name need not begin with its crew's."""
    row = MintingWatchRow("article", "odd", "quarantine", "quarantine", "owner")

    def answer(ask: AdminRequest) -> bytes:
        assert ask == Quarantine(1, "article", "odd", lift=not seconds, seconds=seconds)
        return pack(QuarantineResult(id=1, row=row))

    with _asking(tmp_path, answer) as owner:
        assert owner.quarantine("article", "odd", lift=not seconds, seconds=seconds).row == row


@pytest.mark.parametrize("admitted", [True, False])
def test_a_mint_is_asked_for_with_its_claims(tmp_path: Path, admitted: bool) -> None:
    """The agent makes the keys from them itself."""
    claims = grant(1, 500).claims

    def answer(ask: AdminRequest) -> bytes:
        assert ask == CheckMint(id=1, crew="article", kid="k", claims=claims)
        return pack(MintDecision(id=1, admitted=admitted))

    with _asking(tmp_path, answer) as owner:
        assert owner.may_mint(claims, "article", "k") is admitted


def test_a_tree_of_many_pages_is_one_list(tmp_path: Path) -> None:
    """Pages are put together in order until the last one."""
    rows = [TreeRow(crew="article", branch=str(n), state="live") for n in range(3)]
    pages = [TreePage(id=1, rows=[row], last=row is rows[-1]) for row in rows]
    with _asking(tmp_path, lambda ask: b"".join(map(pack, pages))) as owner:
        assert owner.tree() == rows


def test_a_refusal_is_its_own_error(tmp_path: Path) -> None:
    """What the agent will not do is a ServiceRefusedError with the agent's sentence."""
    failed = pack(RequestFailed(id=1, message="two crews have this branch: name one"))
    with (
        _asking(tmp_path, lambda ask: failed) as owner,
        pytest.raises(ServiceRefusedError, match="name one"),
    ):
        owner.revoke([branch("b")])


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0\0\0\0", pack(ReloadResult(id=2, generation=1, changed=True)), pack(RECEIPT)],
    ids=["closed", "garbage", "another question", "another kind"],
)
def test_another_answer_is_a_link_error(tmp_path: Path, answer: bytes) -> None:
    """A closed connection, garbage or an answer to something else is never taken for ours."""
    with _asking(tmp_path, lambda ask: answer) as owner, pytest.raises(ServiceConnectionError):
        owner.reload()


def test_an_agent_that_is_stopped_may_do_it_yet(tmp_path: Path) -> None:
    """The question lies in its socket, and whoever asked is told so; nobody answers here."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with connectable(tmp_path, AgentSocketKind.OWNER.value) as where:
            listener.bind(where)
        listener.listen()
        with (
            AdminClient(tmp_path, seconds=0.01) as owner,
            pytest.raises(ServiceConnectionError, match="will do the request when it continues"),
        ):
            owner.revoke([branch("b")])


def test_the_members_come_in_pages(tmp_path: Path) -> None:
    """All of them, until one page says that it is the last."""
    row = MemberRow("edge-1", "10.0.0.1:8446", "alive", "counts", 0.5, 2_000_000_000, True)

    def answer(ask: AdminRequest) -> bytes:
        pages = [MembersPage(id=1, rows=[row], last=last) for last in (False, True)]
        return b"".join(map(pack, pages))

    with _asking(tmp_path, answer) as owner:
        assert owner.members() == [row, row]


def test_one_that_cannot_be_evicted_is_a_refusal(tmp_path: Path) -> None:
    """With the agent's words."""

    def answer(ask: AdminRequest) -> bytes:
        assert ask == EvictMember(id=1, name="edge-1", until="quorum", force=True)
        return pack(RequestFailed(id=1, message="edge-1 is this machine"))

    with (
        _asking(tmp_path, answer) as owner,
        pytest.raises(ServiceRefusedError, match="this machine"),
    ):
        owner.evict("edge-1", "quorum", force=True)


def test_the_largest_receipt_fits_a_frame() -> None:
    """With as many targets and names of machines as there can be, each as long as it can be."""
    target = RevocationTarget(
        EntityKind.ORCHESTRATOR,
        "n" * limits.claim_chars_max,
        "c" * limits.claim_chars_max,
        limits.gateway_life_seconds_max,
        limits.time_seconds_max,
    )
    reach = QuorumResult(
        "quorum",
        of=limits.gossip_members_max,
        missing=["m" * limits.name_chars_max] * limits.ipc_missing_names_max,
        missing_more=limits.gossip_members_max,
    )
    receipt = RevocationReceipt(targets=[target] * limits.ipc_targets_max, reach=reach)
    (body,) = FrameDecoder().feed(pack(receipt))
    assert unpack(owner_answers, body) == receipt
