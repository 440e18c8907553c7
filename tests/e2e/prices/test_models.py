"""Calls of language models through the gateway, by the clients that people use."""

import asyncio
import json
import os
import ssl
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from installation import wait_until
from priced_gateway import Priced, priced
from shared_ledger_gateways import branch_of

from crewgate.core.credits import MICRO
from crewgate.issuer.httpx2_auth import TokenAuth

if TYPE_CHECKING:
    import anthropic  # noqa: TC004 - `clients` imports it
    import openai  # noqa: TC004 - the same

MESSAGES: Any = [{"role": "user", "content": "Tell me of otters."}]
WORD = 1000  # micro-credits of each that is answered
LEAST = 16  # as limits.lowered_tokens_min


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Priced]:
    with priced(tmp_path_factory.mktemp("models")) as found:
        yield found


@pytest.fixture(scope="module", autouse=True)
def clients() -> None:
    """They take seconds to import, and each process that runs tests reads this file."""
    globals().update((name, import_module(name)) for name in ("anthropic", "openai"))


@pytest.fixture(autouse=True)
def trust(models: Priced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SSL_CERT_FILE", str(models.folder / "certs" / "ca.pem"))


def openai_(models: Priced, token: str, base: str = "v1") -> "openai.OpenAI":
    return openai.OpenAI(
        api_key=token, base_url=f"https://localhost:{models.port}/{base}", max_retries=0
    )


def anthropic_(models: Priced, token: str, base: str = "") -> "anthropic.Anthropic":
    url = f"https://localhost:{models.port}{base}"
    return anthropic.Anthropic(api_key=token, base_url=url, max_retries=0)


def words_of(client: "openai.OpenAI", model: str, tokens: int, **more: Any) -> int:
    """Words of a streamed answer; what the client raises."""
    text = ""
    for chunk in client.chat.completions.create(
        model=model, messages=MESSAGES, max_tokens=tokens, stream=True, **more
    ):
        for choice in chunk.choices:
            text += choice.delta.content or ""
    return len(text.split())


def cost_of(models: Priced, token: str) -> int:
    """What the last call cost, as its record has it; and the ledger agrees on all of them."""
    wait_until(lambda: models.calls(token))
    wait_until(lambda: models.spent(token) == sum(c["cost_micro"] for c in models.calls(token)))
    return int(models.calls(token)[-1]["cost_micro"])


@pytest.mark.parametrize("streams", [False, True])
def test_openai_pays_for_the_tokens_that_are_stated(models: Priced, streams: bool) -> None:
    """Read, cached and answered ones, each at its rate; a stream is asked to state them as well."""
    token = models.mint("1")
    client = openai_(models, token)
    if streams:
        assert words_of(client, "m-1", 30) == 30
    else:
        answer = client.chat.completions.create(model="m-1", messages=MESSAGES, max_tokens=30)
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 30
    (call,) = [cost_of(models, token)] and models.calls(token)
    cached = call["tokens_in"] // 2
    read = (call["tokens_in"] - cached) * 10 + cached * 5
    assert call["cost_micro"] == 30 * WORD + read
    assert (call["model"], call["tokens_out"], call["outcome"]) == ("m-1", 30, "done")


def test_clients_present_a_token_file(models: Priced, tmp_path: Path) -> None:
    """On httpx2, of which their own errors are made; a file that is gone is such an error."""
    file = tmp_path / "token"
    file.write_text(models.mint("1"))
    trust = ssl.create_default_context(cafile=str(models.folder / "certs" / "ca.pem"))
    url, none = f"https://localhost:{models.port}", "kept in a file"
    with httpx2.Client(auth=TokenAuth(file), verify=trust, trust_env=False) as http:
        asked = openai.OpenAI(api_key=none, base_url=f"{url}/v1", http_client=http, max_retries=1)
        wanted: Any = {"messages": MESSAGES, "max_tokens": 20}
        assert asked.chat.completions.create(model="m-1", **wanted).usage
        other = anthropic.Anthropic(auth_token=none, api_key=None, base_url=url, http_client=http)
        assert other.messages.create(model="m-1", **wanted).usage.output_tokens == 20
        file.unlink()
        with pytest.raises(openai.APIConnectionError) as raised:
            asked.chat.completions.create(model="m-1", **wanted)
    assert "its branch was revoked" in str(raised.value.__cause__)


def test_asynchronous_clients_present_a_token_file(models: Priced, tmp_path: Path) -> None:
    """Whole answers and streams, several at once; a file that is gone is the client's own error."""
    file = tmp_path / "token"
    file.write_text(models.mint("1"))
    trust = ssl.create_default_context(cafile=str(models.folder / "certs" / "ca.pem"))
    url, none = f"https://localhost:{models.port}", "kept in a file"
    wanted: Any = {"messages": MESSAGES, "max_tokens": 20}

    async def run() -> None:
        http = httpx2.AsyncClient(auth=TokenAuth(file), verify=trust, trust_env=False)
        async with http:
            asked = openai.AsyncOpenAI(
                api_key=none, base_url=f"{url}/v1", http_client=http, max_retries=1
            )
            create = asked.chat.completions.create
            answers = await asyncio.gather(*[create(model="m-1", **wanted) for _ in range(5)])
            assert [answer.usage.completion_tokens for answer in answers] == [20] * 5
            stream = await create(model="m-1", stream=True, **wanted)
            text = [choice.delta.content or "" async for part in stream for choice in part.choices]
            assert len("".join(text).split()) == 20
            other = anthropic.AsyncAnthropic(
                auth_token=none, api_key=None, base_url=url, http_client=http
            )
            assert (await other.messages.create(model="m-1", **wanted)).usage.output_tokens == 20
            file.unlink()
            with pytest.raises(openai.APIConnectionError) as raised:
                await create(model="m-1", **wanted)
        assert "its branch was revoked" in str(raised.value.__cause__)

    asyncio.run(run())


def test_usage_is_seen_by_who_asked_for_it(models: Priced) -> None:
    """The gateway asks for it in any case, and keeps the event from whoever did not."""
    client = openai_(models, models.mint("1"))
    asked: Any = {"stream_options": {"include_usage": True}}
    for more, seen in (({}, False), (asked, True)):
        chunks = list(
            client.chat.completions.create(
                model="m-1", messages=MESSAGES, max_tokens=20, stream=True, **more
            )
        )
        assert any(chunk.usage is not None for chunk in chunks) is seen
        assert all(chunk.choices for chunk in chunks) is not seen


def test_an_answer_is_bounded_to_what_is_left(models: Priced) -> None:
    """`max_tokens` is lowered, and the branch spends its quota and no more; then 403."""
    token = models.mint("0.05")
    client = openai_(models, token)
    answer = client.chat.completions.create(model="m-1", messages=MESSAGES, max_tokens=4000)
    assert answer.usage is not None
    assert LEAST < answer.usage.completion_tokens < 50
    assert 0.04 * MICRO < cost_of(models, token) <= 0.05 * MICRO
    with pytest.raises(openai.PermissionDeniedError) as raised:
        client.chat.completions.create(model="m-1", messages=MESSAGES, max_tokens=4000)
    assert raised.value.code == "credits-exhausted"
    assert f"Not enough credits. {branch_of(token)} has 0.0" in str(raised.value)


def test_a_tool_may_refuse_instead(models: Priced) -> None:
    """`on_short_credit = "refuse"`: what is asked for is answered in full or not at all."""
    token = models.mint("0.05")
    client = openai_(models, token, "refusing")
    with pytest.raises(openai.PermissionDeniedError) as raised:
        client.chat.completions.create(model="m-1", messages=MESSAGES, max_tokens=4000)
    assert "Ask for less" in str(raised.value)
    assert client.chat.completions.create(model="m-1", messages=MESSAGES, max_tokens=20)


def test_a_refusal_says_how_much_is_missing(models: Priced) -> None:
    """What the call would have reserved, and what is left; both are what the ledger says."""
    token = models.mint("0.05")
    body = {"model": "m-1", "messages": MESSAGES, "max_tokens": 4000}
    problem = models.post(token, "/refusing/chat/completions", body).json()
    assert problem["type"].endswith("/credits-exhausted")
    assert (problem["left_credits"], problem["quota_credits"]) == ("0.05", "0.05")
    assert float(problem["needed_credits"]) > 4000 * WORD / MICRO
    assert problem["detail"].startswith(f"{branch_of(token)} has 0.05 credits left, but this call")


def test_the_last_event_says_how_much_is_missing(models: Priced) -> None:
    """The next piece is more than what is left, which is next to nothing."""
    token = models.mint("0.08")
    body = {"model": "m-rude", "messages": MESSAGES, "max_tokens": 4000, "stream": True}
    text = models.post(token, "/steps/chat/completions", body).text
    assert text.endswith("}\n\n")
    problem = json.loads(text.rpartition("event: error\ndata: ")[2])
    assert (problem["quota_credits"], problem["level"]) == ("0.08", problem["branch"])
    assert 0 <= float(problem["left_credits"]) < float(problem["needed_credits"]) < 0.01


def test_a_stream_is_cut_at_the_last_credit(models: Priced) -> None:
    """OpenAI's client raises what the last event says; what was delivered is what is charged."""
    token = models.mint("0.08")
    got = 0
    stream = openai_(models, token, "steps").chat.completions.create(
        model="m-rude", messages=MESSAGES, max_tokens=4000, stream=True
    )
    with pytest.raises(openai.APIError) as raised:  # noqa: PT012 - it is raised in the middle
        for chunk in stream:
            got += sum(len((choice.delta.content or "").split()) for choice in chunk.choices)
    assert raised.value.code == "credits-exhausted"
    cost = cost_of(models, token)
    assert 0.08 * MICRO - 2 * WORD < cost <= 0.08 * MICRO  # within an event, which is a word
    assert cost >= got * WORD
    assert models.calls(token)[-1]["outcome"] == "exhausted"


def test_a_stream_takes_its_credit_step_by_step(models: Priced) -> None:
    """It holds no more than it needs, so that another call of the branch goes on beside it."""
    token = models.mint("4.1")
    stream = openai_(models, token, "steps").chat.completions.create(
        model="m-rude-slow", messages=MESSAGES, max_tokens=4000, stream=True
    )
    for _, chunk in zip(range(10), stream, strict=False):
        assert chunk.choices
    assert openai_(models, token).chat.completions.create(
        model="m-1", messages=MESSAGES, max_tokens=3500
    )
    assert sum(bool(chunk.choices[0].delta.content) for chunk in stream) == 390
    wait_until(lambda: len(models.calls(token)) == 2)


@pytest.mark.parametrize("streams", [False, True])
def test_anthropic_pays_and_understands(models: Priced, streams: bool) -> None:
    """The same for Anthropic's client: usage, then a refusal that it knows."""
    token = models.mint("0.06")
    client = anthropic_(models, token)
    body: Any = {"model": "m-2", "max_tokens": 30, "messages": MESSAGES}
    if streams:
        with client.messages.stream(**body) as stream:
            assert stream.get_final_message().usage.output_tokens == 30
    else:
        assert client.messages.create(**body).usage.output_tokens == 30
    call = cost_of(models, token) and models.calls(token)[-1]
    assert call["cost_micro"] == 30 * WORD + 10 * call["tokens_in"]
    client.messages.create(**body | {"max_tokens": 4000})  # as many as are left
    with pytest.raises(anthropic.PermissionDeniedError) as raised:
        client.messages.create(**body)
    assert f"Not enough credits. {branch_of(token)} has 0.0" in str(raised.value)


def test_a_stream_of_anthropics_is_cut(models: Priced) -> None:
    """Its client raises the event's error."""
    token = models.mint("0.05")
    client = anthropic_(models, token, "/steps")
    with (
        pytest.raises(anthropic.APIStatusError) as raised,
        client.messages.stream(model="m-rude", max_tokens=4000, messages=MESSAGES) as stream,
    ):
        for _ in stream.text_stream:
            pass
    assert f"Not enough credits. {branch_of(token)} has 0.0" in str(raised.value)
    assert cost_of(models, token) <= 0.05 * MICRO
    assert models.calls(token)[-1]["outcome"] == "exhausted"


def test_other_shapes(models: Priced) -> None:
    """OpenAI's responses and embeddings, and Gemini's contents, streamed or not."""
    token = models.mint("1")
    client = openai_(models, token)
    assert client.responses.create(model="m-1", input="otters", max_output_tokens=20).usage
    events = client.responses.create(model="m-1", input="otters", max_output_tokens=20, stream=True)
    assert [event.type for event in events][-1] == "response.completed"
    embedder = openai_(models, token, "llm")
    assert embedder.embeddings.create(model="m-embed", input="otters", encoding_format="float").data
    body = {
        "contents": [{"parts": [{"text": "otters"}]}],
        "generationConfig": {"maxOutputTokens": 9},
    }
    for path in (":generateContent", ":streamGenerateContent?alt=sse"):
        assert models.post(token, f"/v1beta/models/m-1{path}", body).status_code == 200
    wait_until(lambda: len(models.calls(token)) == 5)
    calls = models.calls(token)
    assert [call["tokens_out"] for call in calls[:2]] == [20, 20]
    assert all(
        call["cost_micro"] == call.get("tokens_out", 0) * WORD + call["tokens_in"] * 10
        for call in calls
    )
    assert cost_of(models, token) > 0


def test_what_states_no_usage_costs_all_that_was_reserved(models: Priced) -> None:
    """Nobody can know better."""
    token = models.mint("1")
    client = openai_(models, token)
    client.chat.completions.create(model="m-silent", messages=MESSAGES, max_tokens=30)
    assert cost_of(models, token) > 30 * WORD  # what it may have read is more than what it did


def test_more_than_the_bound_ends_the_branch(models: Priced) -> None:
    """It is charged its bound; the rest is recorded; and whoever calls such a tool is stopped."""
    token = models.mint("1")
    client = openai_(models, token)
    client.chat.completions.create(model="m-dear", messages=MESSAGES, max_tokens=30)
    wait_until(lambda: models.calls(token))
    (call,) = models.calls(token)
    assert call["overrun_micro"] > 2 * MICRO
    assert call["cost_micro"] < 0.04 * MICRO
    wait_until(lambda: _is_revoked(client))
    wait_until(lambda: models.spent(token) == call["cost_micro"])
    assert next(r for r in models.records() if r["kind"] == "revocation")["by"] == "overrun"
    (row,) = [row for row in models.report() if row["branch"] == branch_of(token)]
    assert (row["overrun_micro"], row["closed"]) == (call["overrun_micro"], True)
    (warning,) = [each for each in models.ask("check")["warnings"] if "llm.chat" in each]
    assert "credits more than their calls had reserved; nobody paid" in warning


def _is_revoked(client: "openai.OpenAI") -> bool:
    try:
        client.chat.completions.create(model="m-1", messages=MESSAGES, max_tokens=20)
    except openai.AuthenticationError as error:
        return error.code == "branch-revoked"
    return False


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not a JSON object"),
        (b'{"model": "other", "messages": []}', 'no price for the model "other"'),
        (b'{"model": "m-1", "max_tokens": 5, "MAX_TOKENS": 9, "messages": []}', "two spellings"),
        (b'{"model": "m-1", "max_tokens": -1, "messages": []}', "not a whole number"),
        (b'{"model": "m-1", "n": 100, "max_tokens": 4000, "messages": []}', "costs at most 10.00"),
    ],
)
def test_what_cannot_be_priced_is_refused(models: Priced, body: bytes, said: str) -> None:
    """With what keeps it from a price; nothing is charged, nothing goes upstream."""
    token = models.mint("1")
    answer = models.post(token, "/refusing/chat/completions", body)
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[-1]) == (422, "unpriced")
    assert said in answer.json()["detail"]
    wait_until(lambda: [r["reason"] for r in models.calls(token)] == ["unpriced"])
    assert models.post("nonsense", "/v1/chat/completions", body).status_code == 401


def test_the_books_agree(models: Priced) -> None:
    """All the above: ledger and audit, to the micro-credit; nothing is reserved any more."""
    wait_until(lambda: all(row["reserved_micro"] == 0 for row in models.report()))
    models.run("ledger", "reconcile")
