"""Messages: each door understands its own, and nothing else."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from revocation_targets import branch

from crewgate import limits
from crewgate.core.rules.rule import RuleMode, RuleStep
from crewgate.core.tokens.grant import Grant
from crewgate.errors import ServiceConnectionError
from crewgate.ipc import admin_messages, attach_messages
from crewgate.ipc.admin_messages import (
    GetStatus,
    GetTree,
    Quarantine,
    ReloadConfig,
    Revoke,
    TreePage,
    TreeRow,
)
from crewgate.ipc.attach_messages import Attach, DrawCredit, RequestFailed, pack, unpack
from crewgate.ipc.frames import FrameDecoder

DOORS: list[msgspec.msgpack.Decoder[object]] = [
    attach_messages.group_asks,
    attach_messages.group_answers,
    admin_messages.owner_asks,
    admin_messages.owner_answers,
]


def _body(message: msgspec.Struct) -> bytes:
    (body,) = FrameDecoder().feed(pack(message))
    return body


def test_draw_carries_the_grant_whole(grant: Grant) -> None:
    """Keys, path and claims arrive as they were sent."""
    draw = DrawCredit(id=7, grant=grant, need=10_000)
    assert unpack(attach_messages.group_asks, _body(draw)) == draw


@pytest.mark.parametrize(
    "message",
    [
        Revoke(id=1, targets=[branch("x")]),
        GetStatus(id=1),
        GetTree(id=1),
        ReloadConfig(id=1),
        Quarantine(id=1, crew="article", orchestrator="article/one"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_owners_messages_are_garbage_at_the_groups_door(
    message: admin_messages.AdminRequest,
) -> None:
    """Who may only attach and draw cannot even say revoke."""
    with pytest.raises(ServiceConnectionError, match="not a message of this socket"):
        unpack(attach_messages.group_asks, _body(message))


@given(st.binary(max_size=200), st.sampled_from(DOORS))
def test_garbage_is_a_link_error(
    body: bytes, decoder: "msgspec.msgpack.Decoder[msgspec.Struct]"
) -> None:
    """Random bytes raise ServiceConnectionError and nothing else."""
    try:
        unpack(decoder, body)
    except ServiceConnectionError:
        return
    pytest.fail("random bytes were a message")


@given(st.data(), st.sampled_from(DOORS))
def test_almost_messages_are_link_errors(
    data: st.DataObject, decoder: "msgspec.msgpack.Decoder[msgspec.Struct]"
) -> None:
    """Well-formed msgpack of the wrong shape raises ServiceConnectionError or is a message."""
    tags = st.sampled_from(["attach", "draw", "cut", "revoke", "tree-page", "receipt", "failed"])
    values = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
    names = st.sampled_from(["id", "grant", "need", "keys", "rows", "last", "version", "branch"])
    shape = data.draw(st.dictionaries(names, values))
    body = msgspec.msgpack.encode({"type": data.draw(tags), **shape})
    try:
        message = unpack(decoder, body)
    except ServiceConnectionError:
        return
    assert isinstance(message, msgspec.Struct)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Attach(version=1, worker=-2),
        lambda: Attach(version=1, previous=limits.table_attachments_max),
        lambda: GetStatus(id=-1),
        lambda: RequestFailed(id=1, message="x" * (limits.ipc_reason_chars_max + 1)),
        lambda: attach_messages.RevocationNotice(id=1, keys=[b"short"]),
        lambda: attach_messages.OverrunNoted(id=b"short"),
    ],
)
def test_values_out_of_bounds_are_refused(make: Callable[[], msgspec.Struct]) -> None:
    """The bounds of the fields hold when a message is read."""
    body = _body(make())
    for decoder in DOORS:
        with pytest.raises(ServiceConnectionError):
            unpack(decoder, body)


def test_a_full_page_of_the_longest_rows_fits_a_frame() -> None:
    """The bound on rows keeps every tree within the bound on frames."""
    text, big = "x" * limits.claim_chars_max, limits.quota_micro_max
    row = TreeRow(
        crew=text,
        branch=text,
        state="token-revoked",
        parent=text,
        orchestrator=text,
        role=text,
        process=text,
        grant=text,
        subject=text,
        leased_on={f"{n}{'m' * limits.holder_chars_max}": big for n in range(8)},
        rule="r" * limits.name_chars_max,
        rule_step=RuleStep.REFUSE,
        rule_mode=RuleMode.OBSERVE,
        calls=big,
        leased=big,
        overrun=big,
        left_hour=big,
        left_day=big,
        spent_here=big,
        reserved_here=big,
        leased_here=big,
        issued=2**33,
        quota=big,
        spent=big,
        reserved=big,
        burned=big,
        left=big,
    )
    pack(TreePage(id=2**63 - 1, rows=[row] * limits.ipc_tree_rows_max, last=False))


def test_the_longest_grant_fits_a_frame(grant: Grant) -> None:
    """A draw for a token of the largest size is sendable: the path is 8 deep, tools are 64."""
    text = "x" * limits.claim_chars_max
    claims = msgspec.structs.replace(
        grant.claims,
        allowed_tools=[text] * limits.allowed_tools_max,
        aud=[text] * limits.audiences_max,
        branch_path=grant.claims.branch_path * limits.depth_max,
    )
    pack(DrawCredit(id=1, grant=msgspec.structs.replace(grant, claims=claims), need=1))
