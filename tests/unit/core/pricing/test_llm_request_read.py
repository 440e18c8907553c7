"""What a model is made to read, and what would change its price: bounded, or refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tariffs import PATHS, ask, by_usage, plain, rated, refusal, texts

from crewgate import limits
from crewgate.core.pricing.editable_json import EditableJSON
from crewgate.core.pricing.llm_request import asked
from crewgate.core.pricing.tariff import LLMDialect

RESPONSES = b"/v1/responses"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}


BEYOND: list[tuple[LLMDialect, str]] = [
    ("openai", '"messages":[{"content":[{"image_url":{"url":"https://a"}}]}]'),
    ("openai", '"messages":[{"content":[{"im\\u0061ge_\\u0075rl":{}}]}]'),
    ("openai", '"messages":[],"Web_Search_Options":{}'),
    ("openai", '"input":"a","previous_response_id":"r"'),
    ("openai", '"input":"a","conversation":"c"'),
    ("openai", '"input":[{"file_id":"f"}]'),
    ("openai", '"input":"a","tools":[{"type":"web_search_preview"}]'),
    ("openai", '"input":"a","tools":[{"type":"file_search"}]'),
    ("openai", '"input":"a","tools":[{"type":"mcp"}]'),
    ("openai", '"input":"a","tools":[{"type":"code_interpreter"}]'),
    ("openai", '"prompt":{"id":"stored"},"input":"a"'),
    ("anthropic", '"messages":[{"content":[{"source":{"type" : "url"}}]}]'),
    ("anthropic", '"messages":[{"content":[{"source":{"type":"base64","data":"aa"}}]}]'),
    ("anthropic", '"messages":[],"tools":[{"type":"web_search_20250305"}]'),
    ("anthropic", '"messages":[],"mcp_servers":[]'),
    ("anthropic", '"messages":[],"container":"c"'),
    ("gemini", '"contents":[{"parts":[{"fileData":{"fileUri":"gs://a"}}]}]'),
    ("gemini", '"contents":[{"parts":[{"inline_data":{"data":"aa"}}]}]'),
    ("gemini", '"cachedContent":"c"'),
    ("gemini", '"tools":[{"googleSearchRetrieval":{}}]'),
    ("gemini", '"tools":[{"url_context":{}}]'),
]


ALLOWED = (
    "Web_Search_Options", "web_search_preview", "file_search", "mcp", "code_interpreter", "prompt",
    "web_search_20250305", "mcp_servers", "container", "googleSearchRetrieval", "url_context",
    "audio",
)  # fmt: skip


@pytest.mark.parametrize(("dialect", "members"), BEYOND)
def test_what_is_read_beside_the_requests_text_is_bounded_by_the_model(
    dialect: LLMDialect, members: str
) -> None:
    """Files, pages and conversations are as long as they like: the model's context is the bound."""
    text = f'{{"model":"m","max_tokens":5,"max_output_tokens":5,{members}}}'.encode()
    path = b"/llm" if dialect == "openai" and '"input"' in members else b""
    path = RESPONSES if "stored" in members else path
    more = {"output_tokens": 5, "allow": ALLOWED}
    assert "context_tokens" in refusal(text, dialect, path, **more)
    assert ask(text, dialect, path, context_tokens=9000, **more).read == 9000


# A text that begins with a dot and has no escaped letter (`\u`) is no name of a costly part.
@given(
    texts.map(lambda text: "." + text.replace("\\u", "")),
    st.sampled_from([0, 30, 100_000]),
    st.sampled_from(["", "tools", "functions"]),
)
def test_no_more_is_read_than_the_request_has_bytes(content: str, context: int, tools: str) -> None:
    """A token stands for a byte or more, beside a server's own; a model reads what it can."""
    body = {**CHAT, "messages": [{"role": "user", "content": content}]}
    own = limits.framing_tokens
    if tools:
        body[tools] = [{"function": {"parameters": {"url": {}}}}]
        own += limits.tools_tokens
    text = json.dumps(body, ensure_ascii=False).encode()
    most = len(text) + own
    assert ask(text, context_tokens=context).read == min(most, context or most)


@pytest.mark.parametrize("member", [{"safe_prompt": True}, {"prompt_mode": "reasoning"}])
def test_a_prompt_that_the_server_adds_is_read_too(member: dict[str, object]) -> None:
    """It is longer than what frames a message; it is not there where that is not asked for."""
    more = len(plain({**CHAT, **member})) - len(plain(CHAT))
    most = ask(CHAT).read + more + limits.own_prompt_tokens
    assert ask({**CHAT, **member}).read == most
    for nothing in (False, None):
        name = next(iter(member))
        read = ask({**CHAT, name: nothing}).read
        assert read == len(plain({**CHAT, name: nothing})) + limits.framing_tokens


@pytest.mark.parametrize(
    ("dialect", "name"),
    [("openai", "service_tier"), ("openai", "n_predict"), ("openai", "background"),
     ("openai", "prediction"), ("openai", "models"), ("openai", "route"),
     ("anthropic", "service_tier"), ("anthropic", "speed"), ("gemini", "serviceTier")],
)  # fmt: skip
def test_what_changes_the_price_is_refused_unless_it_is_allowed(
    dialect: LLMDialect, name: str
) -> None:
    """Not where it says what is done without it; in no other case either."""
    dear: list[object] = ["priority", True, 5, ["m"], {}]
    for value in dear:
        body = {**CHAT, name: value}
        assert "may change what the call costs" in refusal(body, dialect, output_tokens=9)
        usage = by_usage(dialect, rated(output_tokens=9), allow=(name,))
        assert asked(usage, EditableJSON(plain(body)), PATHS[dialect], 99).name == "m"
    assert f'"{name.upper()}" may change' in refusal(
        {**CHAT, name.upper(): 1}, dialect, output_tokens=9
    )
    for harmless in (None, False, "auto", "default", "standard_only"):
        assert ask({**CHAT, name: harmless}, dialect, output_tokens=9).name == "m"


@pytest.mark.parametrize("member", ['"ttl":"1h"', '"TTL" : "1H"'])
def test_an_hour_in_a_cache_is_refused_unless_it_is_allowed(member: str) -> None:
    """It costs more than the price of writing into one says."""
    text = f'{{"model":"m","max_tokens":5,"system":[{{"cache_control":{{{member}}}}}]}}'.encode()
    assert "costs more than the price of a cache write" in refusal(text, "anthropic")
    usage = by_usage("anthropic", allow=("ttl",))
    assert asked(usage, EditableJSON(text), PATHS["anthropic"], 99).name == "m"
    assert ask(text.replace(b"1", b"5"), "anthropic").name == "m"


@pytest.mark.parametrize(
    ("prompt", "count"),
    [("[1,2]", 1), ([], 1), ([1, 2, 3], 1), (["a"], 1), (["a", "b"], 2), ([[1, 2], [3]], 2)],
)
def test_each_of_a_texts_prompts_is_answered(prompt: object, count: int) -> None:
    """An array of numbers is one of them, spelled in tokens."""
    body = {"model": "m", "max_tokens": 5, "n": 3, "prompt": prompt}
    assert ask(body, "openai", b"/v1/completions").choices == 3 * count
    assert ask({**CHAT, **body}).choices == 3


def test_what_a_path_does_not_say_the_request_must() -> None:
    """Each shape has its own bounds: there is one of them, or no price."""
    bounds = {"model": "m", "max_tokens": 5, "max_output_tokens": 6}
    for names, written in ((["messages"], 5), (["prompt"], 5), (["input"], 6)):
        assert ask({**bounds, **dict.fromkeys(names, "a")}, "openai", b"/llm").written == written
    for names in ([], ["messages", "input"], ["prompt", "messages"]):
        said = refusal({**bounds, **dict.fromkeys(names, "a")}, "openai", b"/llm")
        assert said == 'send exactly one of "messages", "prompt" and "input"'
