"""`crewgate revoke` of tokens at a whole gateway: whose streams end, and what goes on."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from blocking_clients import OK, REVOKED, Caller
from installation import Installation, installed

from crewgate.issuer.inspection import read_claims


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    """It serves."""
    with installed(tmp_path) as found:
        yield found


def test_streams_end_with_what_their_tokens_name(site: Installation) -> None:
    """A grant's, though another of its branch goes on; then a process'; then the whole crew's.

    The receipt counts each, whether the worker heard of it or saw it in the table first.
    """
    article = site.orchestrator()
    run = article.start_run(credits="10", tools=["search.*"], process_id="pid_a")
    other = article.start_run(credits="10", tools=["search.*"], process_id="pid_b")
    old, new, third = run.token(), run.refresh(), other.token()
    asks = (
        (old, ("--grant", read_claims(old).jti, "--crew", "article")),
        (new, ("--process", "pid_a", "--crew", "article")),
        (third, ("--all-tokens-of", "article")),
    )
    with closing(Caller(site)) as caller, ExitStack() as stack:
        streams = {token: caller.stream(token) for token, _ in asks}
        for stream in streams.values():
            stack.callback(stream.end)
        for token, ask in asks:
            assert all(stream.is_open for stream in streams.values())
            receipt = site.ask("revoke", *ask)
            stream = streams.pop(token)
            stream.end()
            assert b"branch-revoked" in stream.heard
            assert (receipt["streams_cut"], receipt["unresponsive"], receipt["coarsened"]) == (
                1,
                0,
                False,
            )
            assert 0 < receipt["cut_ms"] < 1000
            assert caller.call(token) == REVOKED
            assert all(caller.call(each) == OK for each in streams)
    records = [each for each in site.records() if each["kind"] == "revocation"]
    assert [(each["target"], each["cuts"]) for each in records] == [
        ("grant", 1), ("process", 1), ("crew", 1)
    ]  # fmt: skip
