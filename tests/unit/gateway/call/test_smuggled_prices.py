"""What is priced is what is read: requests that would cost more than they seem to."""

import json
from typing import Any

import pytest

from crewgate import limits
from crewgate.core.pricing.sources import ItemsTerm, NumberTerm
from crewgate.core.pricing.tariff import LLMDialect, ModelRates, Tariff, UsagePricing
from crewgate.errors import InvalidRequestError
from crewgate.gateway.call.request_pricing import PricedRequest, price
from crewgate.server.request import Request

MODEL = ModelRates(
    "m-*", input=1_000_000, output=1_000_000_000, cached=0, cache_write=0, output_tokens=4000
)
CHEAP = ModelRates("m-4*", input=1, output=1, cached=1, cache_write=1, output_tokens=4000)
EXACT = ModelRates(
    "m-4", input=1, output=10_000_000_000, cached=1, cache_write=1, output_tokens=4000
)
WORD = 1000  # micro-credits of each token that MODEL answers


def priced(
    body: Any,
    dialect: LLMDialect = "openai",
    path: bytes = b"/v1/chat/completions",
    *models: ModelRates,
    most: int = 10**12,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    allow: tuple[str, ...] = (),
) -> PricedRequest:
    tariff = Tariff(0, most, usage=UsagePricing(dialect, models or (MODEL,), allow=allow))
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return price(tariff, asking(path, text, *headers), text)


def asking(path: bytes, text: bytes, *headers: tuple[bytes, bytes]) -> Request:
    return Request(b"POST", path, path, b"", b"a", list(headers), "1.1", 0, len(text))


def sent(found: PricedRequest) -> Any:
    """What goes on."""
    assert found.body is not None
    return json.loads(found.body)


CHAT: dict[str, Any] = {"model": "m-1", "messages": []}
GEMINI = b"/v1beta/models/m-1:generateContent"


@pytest.mark.parametrize(
    ("limits_", "bound"),
    [
        ({"max_tokens": 4000, "max_completion_tokens": 1}, 1),
        ({"max_tokens": 9000}, 4000),
        ({}, 4000),
    ],
)
def test_every_limit_of_a_request_is_the_one_that_is_priced(
    limits_: dict[str, int], bound: int
) -> None:
    """A server may know only one of two names; and one above what the model can is brought down."""
    found = priced({**CHAT, **limits_})
    goes = sent(found)
    given = {goes[name] for name in ("max_tokens", "max_completion_tokens") if name in goes}
    assert given == {bound}
    assert found.bound >= bound * WORD


@pytest.mark.parametrize(
    ("config", "tokens", "choices"),
    [
        ({"generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 4000}}, 1, 1),
        (
            {
                "generationConfig": {"maxOutputTokens": 9},
                "generation_config": {"max_output_tokens": 99},
            },
            9,
            1,
        ),
        ({"generationConfig": {"candidate_count": 8, "maxOutputTokens": 100}}, 100, 8),
    ],
)
def test_either_spelling_is_read_at_every_level(
    config: dict[str, Any], tokens: int, choices: int
) -> None:
    """ProtoJSON takes both."""
    found = priced({"contents": [], **config}, "gemini", GEMINI)
    text = json.dumps(sent(found))
    assert text.count(f": {tokens}") == text.lower().count("output")
    assert found.bound >= tokens * choices * WORD
    assert found.bound < (tokens * choices + 500) * WORD


@pytest.mark.parametrize("method", [b"batchGenerateContent", b"predict", b"streamRawPredict"])
def test_other_methods_of_gemini_have_no_price(method: bytes) -> None:
    """One call of them may be many."""
    with pytest.raises(InvalidRequestError, match="the path"):
        priced({"contents": []}, "gemini", b"/v1/models/m-1:" + method)


def test_counting_tokens_answers_none() -> None:
    """It is priced as what it reads."""
    path = b"/v1/models/m-1:countTokens"
    assert priced({"contents": []}, "gemini", path).bound < WORD


@pytest.mark.parametrize(
    ("prompt", "count"), [("a", 1), (["a"] * 50, 50), ([[1, 2], [3]], 2), ([1, 2, 3], 1)]
)
def test_each_prompt_is_completed(prompt: Any, count: int) -> None:
    """An array of texts, or of arrays of tokens, is so many calls."""
    body = {"model": "m-1", "prompt": prompt, "max_tokens": 1000}
    bound = priced(body, "openai", b"/v1/completions").bound
    assert count * 1000 * WORD <= bound < (count * 1000 + 600) * WORD


@pytest.mark.parametrize(
    ("path", "limit"),
    [(b"/v1/completions", "max_tokens"), (b"/v1/responses", "max_output_tokens")],
)
def test_the_path_says_which_limit_counts(path: bytes, limit: str) -> None:
    """Members of another shape are not what that server goes by."""
    body = {"model": "m-1", "messages": [], "prompt": "a", "input": "a", "max_completion_tokens": 1}
    with pytest.raises(InvalidRequestError, match="may change what the call costs"):
        priced(body, "openai", path)
    allow = ("messages", "prompt", "input", "max_completion_tokens")
    assert sent(priced(body, "openai", path, allow=allow))[limit] == 4000
    with pytest.raises(InvalidRequestError, match="send exactly one of"):
        priced(body, "openai", b"/llm")


@pytest.mark.parametrize(
    "more",
    [
        {"service_tier": "priority"},
        {"prediction": {"type": "content", "content": "a"}},
        {"n_predict": 9000},
        {"models": ["m-1", "dear"]},
        {"background": True},
    ],
)
def test_what_changes_a_price_is_allowed_by_the_tool_or_refused(more: dict[str, Any]) -> None:
    """Some of it costs more than its tokens say, some bounds them otherwise."""
    with pytest.raises(InvalidRequestError, match="may change what the call costs"):
        priced({**CHAT, **more})
    allowed = UsagePricing("openai", (MODEL,), allow=tuple(more))
    text = json.dumps({**CHAT, **more}).encode()
    request = asking(b"/v1/chat/completions", text)
    assert sent(price(Tariff(0, 10**12, usage=allowed), request, text)).keys() >= more.keys()


def test_a_cache_for_an_hour_has_another_price() -> None:
    """Twice that of one for five minutes."""
    block = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body = {"model": "m-1", "max_tokens": 9, "messages": [{"role": "user", "content": [block]}]}
    with pytest.raises(InvalidRequestError, match="ttl"):
        priced(body, "anthropic", b"/v1/messages")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:,"}},
        {"type": "IMAGE_URL", "IMAGE_URL": "https://a.example"},
        {"type": "document", "source": {"type": "base64", "data": "aa"}},
        {"type": "image", "source": {"type": "url", "url": "https://a.example"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "aa"}},
        {"type": "video_url", "video_url": "https://a.example"},
        {"type": "item_reference", "id": "a"},
        b'{"image\\u005furl": 1}',
    ],
)
def test_what_has_more_tokens_than_bytes_is_bounded_by_the_context(part: Any) -> None:
    """And has no price where that is not known."""
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    body = b'{"model":"m-1","max_tokens":9,"messages":[{"content":[%b]}]}' % text
    with pytest.raises(InvalidRequestError, match="context_tokens"):
        priced(body)
    wide = ModelRates("m-*", 1_000_000, 1, 0, 0, context_tokens=100_000, output_tokens=9)
    assert priced(body, "openai", b"/chat/completions", wide).bound >= 100_000


@pytest.mark.parametrize(
    "tools",
    [
        [{"type": "function", "function": {"name": "get", "parameters": {"url": {"type": "s"}}}}],
        [{"type": "function", "function": {"name": "a<b"}}],
    ],
)
def test_tools_of_the_client_are_text(tools: Any) -> None:
    """Whatever its parameters are called, and as Go writes "<"; a server explains their use."""
    body = json.dumps({**CHAT, "tools": tools}).replace("<", "\\u003c").encode()
    assert priced(body).bound > priced(CHAT).bound + limits.tools_tokens


def test_a_model_that_is_named_is_not_taken_for_another() -> None:
    """Though the pattern is longer than the name."""
    assert (
        priced({**CHAT, "model": "m-4"}, "openai", b"/chat/completions", CHEAP, EXACT).bound > WORD
    )


def test_what_is_known_to_cost_more_than_the_most_is_refused() -> None:
    """Also where the answer says the rest."""
    items, units = ItemsTerm(10**10, ("pages",)), NumberTerm(1, ("units",))
    tariff = Tariff(0, 500_000, (items,), (units,))
    text = json.dumps({"pages": [1] * 60}).encode()
    with pytest.raises(InvalidRequestError, match=r"may cost 0\.60"):
        price(tariff, asking(b"/", text), text)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (b"content-encoding", b"gzip", "compressed"),
        (b"content-type", b"application/x-www-form-urlencoded", "urlencoded"),
        (b"content-type", b"multipart/form-data; boundary=a", "multipart"),
    ],
)
def test_what_the_server_reads_otherwise_is_not_priced_as_json(
    name: bytes, value: bytes, said: str
) -> None:
    """A body that is JSON and a form as well is the one to us and the other there."""
    with pytest.raises(InvalidRequestError, match=said):
        priced(CHAT, headers=((name, value),))


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m-1","messages":[],"stream":true,"stream_options":"x"}',
        b'{"model":"m-1","messages":"\xff"}',
        b'{"model":"m-1",%b"messages":[]}' % (b'"a":1,' * 20_000),
    ],
)
def test_odd_documents_are_refused_and_nothing_else(body: bytes) -> None:
    """Not with an error of ours; and what has too many members is not looked into."""
    with pytest.raises(InvalidRequestError):
        priced(body)
