"""A sealed id opens for its branch, crew, endpoint and kind only, and is always the same text."""

import base64
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from crewgate import limits
from crewgate.core.sealed_ids import CallIds, IdKind, IdOwner, IdSealer
from crewgate.errors import UnknownIdError

KEY, OTHER_KEY = bytes(range(32)), bytes(range(32, 64))
SEALER = IdSealer([KEY])
OWNER = IdOwner("article", b"\x01" * 16, "files")
TASK = "786512e2-9e0d-44bd-8f29-789f320fe840"

kinds = st.sampled_from(IdKind)
owners = st.builds(
    IdOwner,
    st.text("abc:", max_size=4),
    st.binary(min_size=16, max_size=16),
    st.text("abc", max_size=4),
)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)


def opens(sealed: str, kind: IdKind = IdKind.MCP_TASK, owner: IdOwner = OWNER) -> bool:
    try:
        SEALER.open(sealed, kind, owner)
    except UnknownIdError:
        return False
    return True


@given(ids, kinds, owners)
def test_a_sealed_id_opens_for_its_owner(plain: str, kind: IdKind, owner: IdOwner) -> None:
    """Two sealers with the same key make the same text, of characters that a header may have."""
    sealed = SEALER.seal(plain, kind, owner)
    assert sealed == IdSealer([KEY]).seal(plain, kind, owner)
    assert sealed.isascii()
    assert sealed.replace("-", "").replace("_", "").isalnum()
    assert SEALER.open(sealed, kind, owner) == plain


@given(ids, kinds, owners, kinds, owners)
def test_it_opens_for_nobody_else(
    plain: str, kind: IdKind, owner: IdOwner, other_kind: IdKind, other: IdOwner
) -> None:
    sealed = SEALER.seal(plain, kind, owner)
    assert opens(sealed, other_kind, other) == ((kind, owner) == (other_kind, other))
    assert (sealed == SEALER.seal(plain, other_kind, other)) == (
        (kind, owner) == (other_kind, other)
    )


def test_the_parts_of_an_owner_do_not_run_together() -> None:
    """A crew `ab` at an endpoint `c` is not a crew `a` at an endpoint `bc`."""
    one, other = IdOwner("ab", b"\x01" * 16, "c"), IdOwner("a", b"\x01" * 16, "bc")
    assert not opens(SEALER.seal(TASK, IdKind.MCP_TASK, one), owner=other)


def changed(sealed: str) -> Iterator[str]:
    raw = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
    for at in range(len(raw)):
        for bit in range(8):
            turned = raw[:at] + bytes((raw[at] ^ 1 << bit,)) + raw[at + 1 :]
            yield base64.urlsafe_b64encode(turned).rstrip(b"=").decode()
    yield from (sealed[:end] for end in range(len(sealed)))
    # Other spellings of the same bytes, which a lenient decoder takes.
    yield from (sealed + "=" * count for count in (1, 2, 3))
    yield from (sealed + each for each in ("A", "AAAA", "\n", " ", "é", "\ud800", "\0"))
    yield sealed[:10] + "!" + sealed[10:]
    yield sealed.replace("-", "+").replace("_", "/") + "=" * (-len(sealed) % 4)
    if len(sealed) % 4:
        yield sealed[:-1] + chr(ord(sealed[-1]) + 1)


def test_foreign_and_malformed_ids_have_one_error() -> None:
    foreign = SEALER.seal(TASK, IdKind.MCP_TASK, structs.replace(OWNER, branch_key=b"\x02" * 16))
    unknown_key = IdSealer([OTHER_KEY]).seal(TASK, IdKind.MCP_TASK, OWNER)
    for text in (foreign, unknown_key, foreign[:-1], TASK, ""):
        with pytest.raises(UnknownIdError, match=r"^no tool gave this id to this branch$"):
            SEALER.open(text, IdKind.MCP_TASK, OWNER)


def test_no_other_text_opens() -> None:
    """Each bit and each character counts, so one id has one text."""
    for plain in (TASK, TASK + "a", TASK + "ab"):
        sealed = SEALER.seal(plain, IdKind.MCP_TASK, OWNER)
        assert opens(sealed)
        assert not [each for each in changed(sealed) if each != sealed and opens(each)]
    assert not opens("A" * 10_000_000)


@pytest.mark.parametrize("kind", IdKind)
def test_an_id_has_a_bounded_length(kind: IdKind) -> None:
    """The longest id still opens; a longer, an empty or a malformed one is not sealed."""
    longest = "é" * (kind.bytes_max // 2)
    sealed = SEALER.seal(longest, kind, OWNER)
    assert SEALER.open(sealed, kind, OWNER) == longest
    for bad in ("", longest + "a", "\ud800"):
        with pytest.raises(ValueError, match=r"expected 1 to|surrogates"):
            SEALER.seal(bad, kind, OWNER)


def test_the_first_key_seals_and_all_open() -> None:
    """A key can come and go without a moment in which an id in use does not open."""
    old, both, new = IdSealer([KEY]), IdSealer([OTHER_KEY, KEY]), IdSealer([OTHER_KEY])
    sealed = old.seal(TASK, IdKind.MCP_TASK, OWNER)
    again = both.seal(TASK, IdKind.MCP_TASK, OWNER)
    assert again != sealed
    assert again == new.seal(TASK, IdKind.MCP_TASK, OWNER)
    assert both.open(sealed, IdKind.MCP_TASK, OWNER) == TASK
    assert both.open(again, IdKind.MCP_TASK, OWNER) == TASK
    with pytest.raises(UnknownIdError):
        new.open(sealed, IdKind.MCP_TASK, OWNER)


def test_a_response_repeats_the_text_of_its_request() -> None:
    """A client gets the text that it sent back, also of the previous key; others have the new."""
    sealed = IdSealer([KEY]).seal(TASK, IdKind.A2A_TASK, OWNER)
    sealer = IdSealer([OTHER_KEY, KEY])
    call = CallIds(sealer, OWNER)
    assert call.open(sealed, IdKind.A2A_TASK) == TASK
    assert call.seal(TASK, IdKind.A2A_TASK) == sealed
    assert call.seal(TASK, IdKind.A2A_CONTEXT) == sealer.seal(TASK, IdKind.A2A_CONTEXT, OWNER)
    assert CallIds(sealer, OWNER).seal(TASK, IdKind.A2A_TASK) != sealed


@pytest.mark.parametrize(
    "keys", [[], [KEY, KEY], [KEY[:31]], [bytes((each,)) * 32 for each in range(5)]]
)
def test_bad_keys_are_refused(keys: list[bytes]) -> None:
    assert len(keys) != 5 or limits.sealing_keys_max == 4
    with pytest.raises(ValueError, match=r"a sealing key has 32 bytes|expected 1 to 4"):
        IdSealer(keys)


@pytest.mark.parametrize(
    ("kind", "plain", "sealed"),
    [
        (
            IdKind.MCP_TASK,
            TASK,
            "AWvDXRfsczu4N-Lg4FXU6h6rq0IyNOR1oBWSGm5uv9NVPoasjvd9ZL-pkStMCwvzcw9UbE2qSSVy6NMLUsVkp7D9NKlo0TOGyzDlVQaxYIHz",
        ),
        (IdKind.MCP_SESSION, "s", "AWvDXRf9bhwnxdKQHrFuhhROxp9sZEXfbMT4y8dul4Ni6hZlFTfwwVjMq7AA2A"),
        (
            IdKind.MCP_CURSOR,
            "état",
            "AWvDXRd0zmm6ePlOyzrfdusbFC-U8GfIn8jKPbpGwTtuu1P1SAp6a6ZRvVEH6WZJQD8",
        ),
        (
            IdKind.A2A_TASK,
            TASK,
            "AWvDXRe5m6ap6Srug9BeU8z8RiN8g-2unDJR2zlPezIaGw71qf4rY8XRe4obbO_iSCWEfUa6mPWzNDZstKmskR-v34Dk_U6_ORoyMQaYy9mp",
        ),
        (
            IdKind.A2A_CONTEXT,
            TASK,
            "AWvDXRdwHM4qpVBa4vV8zcowHAw8LDIBRGd4LtkSh0WUobOkhadD-VnY-yhuz2qVLchAIy6MoUBN_u-S1xmvIqYyoMc-2t1kJShh2yJWrjW2",
        ),
    ],
)
def test_later_versions_open_what_this_one_seals(kind: IdKind, plain: str, sealed: str) -> None:
    """Clients keep sealed ids while a gateway is upgraded."""
    assert SEALER.seal(plain, kind, OWNER) == sealed
