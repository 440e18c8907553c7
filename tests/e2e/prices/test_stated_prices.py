"""Prices that requests and answers state, over a whole gateway: fields, numbers, items, bytes."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from installation import wait_until
from priced_gateway import Priced, priced

USED, LEFT = "x-crewgate-credits-used", "x-crewgate-credits-left"
RESERVED = "x-crewgate-credits-reserved"
CHUNK = "x" * 1000  # 0.01 credits of what is paid for by the byte


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Priced]:
    with priced(tmp_path_factory.mktemp("told")) as found:
        yield found


def cost(tools: Priced, name: str, told: Any, credits_: str = "3") -> int:
    """What one call that is answered like this costs, once ledger and audit say the same."""
    token = tools.mint(credits_)
    tools.post(token, f"/told/{name}", told)
    wait_until(lambda: tools.calls(token))
    (call,) = tools.calls(token)
    wait_until(lambda: tools.spent(token) == call["cost_micro"])
    return int(call["cost_micro"])


@pytest.mark.parametrize(
    ("name", "told", "micro"),
    [
        ("header", {"headers": {"x-cost": "0.0123"}}, 22_300),
        ("header", {"headers": {"x-cost": "1e-2"}}, 20_000),
        ("header", {"headers": {"x-cost": "0.0000001"}}, 10_001),  # a fraction costs one
        ("header", {"headers": {"x-cost": "-1"}}, 1_000_000),  # unreadable: all of it
        ("header", {"headers": {"x-cost": "none"}}, 1_000_000),
        ("header", {}, 1_000_000),
        ("header", {"status": 500}, 10_000),  # an error that states nothing costs what is known
        ("header", {"status": 500, "headers": {"x-cost": "0.5"}}, 510_000),
        ("number", {"text": '{"usage": {"pages": 7}}'}, 14_000),
        ("number", {"text": '{"usage": {"pages": "7"}}'}, 1_000_000),
        ("number", {"text": "7"}, 1_000_000),
        ("items", {"text": '{"found": ["a", "b", {"c": []}]}'}, 300_000),
        ("items", {"text": '{"found": []}'}, 0),
        ("trailer", {"chunks": ["a", "b"], "trailers": {"x-units": "40"}}, 20_000),
        ("trailer", {"chunks": ["a", "b"]}, 1_000_000),
        ("bytes", {"chunks": [CHUNK, CHUNK]}, 20_000),
        ("bytes", {"text": "x"}, 10),
        ("bytes", {"text": ""}, 0),
    ],
)
def test_an_answer_says_what_it_cost(tools: Priced, name: str, told: Any, micro: int) -> None:
    """And what it does not say, or not as a number, counts as the most that it may cost."""
    assert cost(tools, name, told) == micro


@pytest.mark.parametrize(
    ("name", "body", "micro"),
    [
        ("asked", {"pages": 3, "input": ["a", "b"]}, 71_000),
        ("asked", {"pages": 0.5, "input": ["a"]}, 26_000),
        ("asked", {"pages": 0, "input": []}, 1_000),
        ("sent", b'{"text": "%b"}' % (b"x" * 86), 9_800),
    ],
)
def test_a_request_says_what_it_costs(tools: Priced, name: str, body: Any, micro: int) -> None:
    """Before it is sent: what is used is said at the head of the answer."""
    token = tools.mint("2")
    answer = tools.post(token, f"/told/{name}", body)
    assert (answer.status_code, float(answer.headers[USED]) * 1e6) == (200, micro)
    assert float(answer.headers[LEFT]) * 1e6 == 2_000_000 - micro
    wait_until(lambda: tools.spent(token) == micro)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"pages": -1}, 422),
        ({"pages": "3"}, 422),
        ({"input": []}, 422),
        ({"pages": 1}, 422),
        ({"pages": 1, "input": "a"}, 422),
        ({"pages": 1e9, "input": []}, 422),  # more than a call may cost
        ([1], 422),
        (b'{"pages": 1, "Pages": 9, "input": []}', 422),
        (b'{"pages": 1, "pages": 2, "input": ["a"]}', 200),
    ],
)
def test_a_request_that_has_no_price_is_refused(tools: Priced, body: Any, status: int) -> None:
    """A member that is there twice is passed on once: as it was priced."""
    token = tools.mint("2")
    answer = tools.post(token, "/told/asked", body)
    assert answer.status_code == status, answer.text
    if status == 200:
        assert float(answer.headers[USED]) == 0.041
    else:
        asked = {"pages": 1, "input": []}
        assert tools.post(token, "/told/asked", asked).headers[LEFT] == "1.989"


def test_what_is_left_is_said_with_every_answer(tools: Priced) -> None:
    """Besides what the call itself has reserved; and a tool cannot say it instead."""
    token = tools.mint("3")
    told = {"headers": {LEFT: "9", USED: "0", RESERVED: "0", "x-cost": "0.04"}, "text": "a"}
    for left, spent in (("2.00", 50_000), ("1.95", 100_000)):
        answer = tools.post(token, "/told/header", told)
        assert (answer.headers.get_list(LEFT), answer.headers.get_list(USED)) == ([left], [])
        assert answer.headers.get_list(RESERVED) == ["1.00"]
        wait_until(lambda spent=spent: tools.spent(token) == spent)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize(
    ("version", "answer", "said"),
    [
        ("--http2", {"text": "a"}, [("2.00", None), ("2.95", "0.05")]),
        ("--http2", {"chunks": ["a"]}, [("2.00", None), ("2.95", "0.05")]),
        ("--http2", {"text": ""}, [("2.95", "0.05")]),  # the head is all of it
        ("--http1.1", {"text": ""}, [("2.95", "0.05")]),
        ("--http1.1", {"chunks": ["a"]}, [("2.00", None), ("2.95", "0.05")]),
        ("--http1.1", {"text": "a"}, [("2.00", None)]),  # its end has no room for fields
    ],
)
def test_the_trailers_say_what_the_call_has_cost_and_left(
    tools: Priced, version: str, answer: Any, said: Any
) -> None:
    """As it turned out: what the call did not need of its reservation is left again."""
    told = {"headers": {"x-cost": "0.04"}, **answer}
    ca, url = tools.folder / "certs" / "ca.pem", f"https://127.0.0.1:{tools.port}/told/header"
    command = ["curl", "-sS", version, "--noproxy", "*", "--cacert", str(ca)]
    command += ["-D", "-", "-o", "/dev/null"]
    command += ["-H", f"authorization: Bearer {tools.mint('3')}", "-H", "te: trailers"]
    command += ["-d", json.dumps(told), url]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    lines = [line.partition(": ") for line in done.stdout.lower().splitlines()]
    found = {name: [value for key, _, value in lines if key == name] for name in (LEFT, USED)}
    assert found[LEFT] == [left for left, _ in said]
    assert found[USED] == [used for _, used in said if used]


def test_an_answer_is_cut_where_credit_ends(tools: Priced) -> None:
    """By the byte: no more is delivered than the branch can pay, and within a step no less."""
    token = tools.mint("0.055")
    got = _bytes(tools, token, "flow", {"chunks": [CHUNK] * 20, "pause": 0.01})
    wait_until(lambda: tools.calls(token))
    (call,) = tools.calls(token)
    assert got > 4_500
    assert call["outcome"] == "exhausted"
    # The client's system may drop what it had not read when the connection was reset.
    assert got * 10 <= call["cost_micro"] <= 55_000
    wait_until(lambda: tools.spent(token) == call["cost_micro"])


def test_an_answer_is_cut_at_the_most_that_it_may_cost(tools: Priced) -> None:
    """Whatever the branch has."""
    token = tools.mint("3")
    got = _bytes(tools, token, "bytes", {"chunks": [CHUNK] * 20, "pause": 0.001})
    wait_until(lambda: tools.calls(token))
    (call,) = tools.calls(token)
    assert got * 10 <= call["cost_micro"] <= 50_000
    wait_until(lambda: tools.spent(token) == call["cost_micro"])


def _bytes(tools: Priced, token: str, name: str, told: Any) -> int:
    """What comes of an answer that is broken off."""
    pieces: list[bytes] = []
    with tools.stream(token, f"/told/{name}", told) as answer:
        assert answer.status_code == 200, answer.read()
        with pytest.raises(httpx.RemoteProtocolError):
            pieces.extend(answer.iter_raw())
    return sum(map(len, pieces))
