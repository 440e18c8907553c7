"""What answers of language models state of their tokens, and what is no statement."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tariffs import plain, rated, values

from crewgate import limits
from crewgate.core.pricing.tariff import MILLION, LLMDialect
from crewgate.core.pricing.token_usage import TokenUsage, counts, is_usage_only, read, text_bytes

DIALECTS: list[LLMDialect] = ["openai", "anthropic", "gemini"]
NAMES = {
    "openai": ("prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"),
    "anthropic": (
        "input_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "output_tokens",
    ),
    "gemini": (
        "promptTokenCount",
        "cachedContentTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
        "toolUsePromptTokenCount",
    ),
}


def stated_by(
    dialect: LLMDialect, answer: object, before: TokenUsage | None = None
) -> TokenUsage | None:
    return counts(dialect, read(plain(answer)), before)


def size_of(event: object) -> int:
    return text_bytes(read(plain(event)))


FIVE = {"usage": {"prompt_tokens": 5, "completion_tokens": 1}}


@pytest.mark.parametrize(
    ("dialect", "answer", "found"),
    [
        (
            "openai",  # chat and text completions
            {"usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}},
            TokenUsage(9, 0, 0, 12),
        ),
        (
            "openai",
            {
                "usage": {
                    "prompt_tokens": 9,
                    "completion_tokens": 12,
                    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": 8},
                }
            },
            TokenUsage(5, 4, 0, 12),
        ),
        (
            "openai",  # responses
            {
                "usage": {
                    "input_tokens": 36,
                    "input_tokens_details": {"cached_tokens": 6},
                    "output_tokens": 87,
                    "output_tokens_details": {"reasoning_tokens": 80},
                }
            },
            TokenUsage(30, 6, 0, 87),
        ),
        (
            "openai",  # what is written into a cache is among what was read
            {
                "usage": {
                    "input_tokens": 36,
                    "input_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 20},
                    "output_tokens": 87,
                }
            },
            TokenUsage(10, 6, 20, 87),
        ),
        (
            "openai",  # the last event of a stream of them
            {
                "type": "response.completed",
                "response": {"usage": {"input_tokens": 3, "output_tokens": 4}},
            },
            TokenUsage(3, 0, 0, 4),
        ),
        ("openai", {**FIVE, "response": {"usage": {"input_tokens": 9}}}, TokenUsage(5, 0, 0, 1)),
        (
            "openai",  # embeddings
            {"data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}},
            TokenUsage(8),
        ),
        (
            "openai",
            {"usage": {**FIVE["usage"], "prompt_tokens_details": None}},
            TokenUsage(5, 0, 0, 1),
        ),
        (
            "anthropic",
            {
                "usage": {
                    "input_tokens": 10,
                    "cache_read_input_tokens": 20,
                    "cache_creation_input_tokens": 30,
                    "output_tokens": 40,
                }
            },
            TokenUsage(10, 20, 30, 40),
        ),
        (
            "anthropic",
            {
                "type": "message_start",
                "message": {"usage": {"input_tokens": 10, "output_tokens": 1}},
            },
            TokenUsage(10, 0, 0, 1),
        ),
        (
            "gemini",
            {
                "usageMetadata": {
                    "promptTokenCount": 10,
                    "cachedContentTokenCount": 4,
                    "candidatesTokenCount": 5,
                    "thoughtsTokenCount": 6,
                    "toolUsePromptTokenCount": 7,
                    "totalTokenCount": 28,
                }
            },
            TokenUsage(13, 4, 0, 11),
        ),
    ],
)
def test_reads_what_a_dialect_states(
    dialect: LLMDialect, answer: object, found: TokenUsage
) -> None:
    """Cached tokens are counted apart, thoughts as answered."""
    assert stated_by(dialect, answer) == found


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "answer",
    [
        {}, {"usage": None}, {"usage": 5},
        {"usage": [5]}, {"usage": "5"}, {"UsagePricing": {"prompt_tokens": 5}}, {"message": None},
        {"response": [], "message": []}, {"usageMetadata": None}, {"usageMetadata": [1]},
        {"choices": [{"delta": {"content": "a"}}]}, {"type": "ping"},
    ],
)  # fmt: skip
def test_what_states_nothing_is_nothing(dialect: LLMDialect, answer: object) -> None:
    """No guess is made of it, and it is no error."""
    assert stated_by(dialect, answer, TokenUsage(1, 1, 1, 1)) is None


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "value",
    [-1, 1.0, 0.5, True, False, "5", [], {}, limits.tokens_max + 1, 10**30, 1e300],
    ids=repr,
)
def test_what_is_no_number_of_tokens_is_an_error(dialect: LLMDialect, value: object) -> None:
    """Negative, fractional, true, a text, too many: nothing of it is taken for a count."""
    for name in NAMES[dialect]:
        usage = dict.fromkeys(NAMES[dialect], 1) if dialect != "openai" else {}
        stated = {**usage, name: value}
        with pytest.raises(ValueError, match="not a number of tokens"):
            stated_by(dialect, {"usage": stated, "usageMetadata": stated})
    details = {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": value}}
    with pytest.raises(ValueError, match="not a number of tokens"):
        stated_by("openai", {"usage": details})


def test_no_more_is_cached_than_was_read() -> None:
    """Where cached tokens are a part of the rest, they cannot take more off than there is."""
    usage: dict[str, Any] = {"prompt_tokens": 5, "completion_tokens": 0}
    usage["prompt_tokens_details"] = {"cached_tokens": 9}
    assert stated_by("openai", {"usage": usage}) == TokenUsage(0, 5)
    usage["prompt_tokens_details"] = {"cached_tokens": 2, "cache_write_tokens": 9}
    assert stated_by("openai", {"usage": usage}) == TokenUsage(0, 2, 3)
    metadata = {"promptTokenCount": 5, "cachedContentTokenCount": 9}
    assert stated_by("gemini", {"usageMetadata": metadata}) == TokenUsage(0, 5)


first = st.fixed_dictionaries(dict.fromkeys(NAMES["anthropic"], st.integers(0, 10**9)))
later = st.dictionaries(st.sampled_from(NAMES["anthropic"]), st.none() | st.integers(0, 10**9))


@given(first, st.lists(later.filter(lambda stated: any(stated.values())), max_size=4))
def test_what_an_event_does_not_repeat_stands(
    start: dict[str, int], deltas: list[dict[str, int | None]]
) -> None:
    """Anthropic's later events state totals, and of those the ones that have changed."""
    known = dict(start)
    before = stated_by("anthropic", {"type": "message_start", "message": {"usage": start}})
    for stated in deltas:
        known.update({name: value for name, value in stated.items() if value is not None})
        before = stated_by("anthropic", {"type": "message_delta", "usage": stated}, before)
        assert before == tuple(known[name] for name in NAMES["anthropic"])


@st.composite
def statements(draw: st.DrawFn) -> tuple[LLMDialect, dict[str, Any]]:
    """An answer in which anything may stand where tokens are stated."""
    dialect = draw(st.sampled_from(DIALECTS))
    anything = values | st.integers(-2, 9)
    names = st.sampled_from(NAMES[dialect])
    stated: Any = draw(anything | st.dictionaries(names, anything))
    if isinstance(stated, dict):
        stated["prompt_tokens_details"] = draw(anything)
    key = "usageMetadata" if dialect == "gemini" else "usage"
    inside = draw(st.sampled_from([None, "message", "response"]))
    return dialect, {key: stated} if inside is None else {inside: {key: stated}}


@given(statements())
def test_any_answer_states_counts_or_nothing_or_is_an_error(
    stated: tuple[LLMDialect, dict[str, Any]],
) -> None:
    """No other exception leaves, and no count is negative or more than a call can have."""
    try:
        found = stated_by(*stated)
    except ValueError:
        return
    assert found is None or all(
        type(count) is int and 0 <= count <= 2 * limits.tokens_max for count in found
    )


def test_each_kind_of_token_has_its_rate() -> None:
    """Read, cached, stored and answered, in that order."""
    model = rated(input=1, cached=2, cache_write=3, output=4)
    assert TokenUsage(10, 20, 30, 40).charges(model) == [(1, 10), (2, 20), (3, 30), (4, 40)]
    assert TokenUsage().charges(rated()) == [
        (MILLION, 0),
        (MILLION, 0),
        (MILLION, 0),
        (10 * MILLION, 0),
    ]


@pytest.mark.parametrize(
    ("event", "size"),
    [
        ({"choices": [{"index": 0, "delta": {"content": "Grüße"}, "finish_reason": None}]}, 7),
        ({"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "{}"}}]}}]}, 2),
        ({"choices": [{"text": "a"}, {"text": "bc"}]}, 3),
        ({"type": "response.output_text.delta", "delta": "abcd"}, 4),
        ({"type": "content_block_delta", "delta": {"text": "日本"}}, 6),
        ({"type": "content_block_start", "content_block": {"input": {"a": "bc"}}}, 2),
        ({"candidates": [{"content": {"parts": [{"text": "abc"}]}}]}, 3),
        ({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m"}, 0),
        ({"choices": []}, 0),
        ({"choices": None, "delta": 5}, 0),
    ],
)
def test_counts_the_text_that_an_event_brings(event: object, size: int) -> None:
    """In bytes, wherever a dialect has it, and nothing of what frames it."""
    assert size_of(event) == size


def test_text_is_looked_for_eight_levels_deep() -> None:
    """Where dialects have it is half of that; nobody nests a counter to death."""
    eight: object = "abc"
    for level in range(8):
        eight = [eight] if level % 2 else {"a": eight}
    assert size_of({"delta": eight}) == 3
    for deep in ([eight], {"a": eight}):
        assert size_of({"delta": deep}) == 0


@given(values)
@example({"delta": [[[[[[[[[[[["deep"]]]]]]]]]]]]})
def test_any_event_has_some_length(event: object) -> None:
    """Nothing is raised, however it is nested."""
    assert size_of({"delta": event, "choices": event}) == 2 * size_of({"delta": event})


@pytest.mark.parametrize(
    ("event", "is_it"),
    [
        ({"choices": [], "usage": {"prompt_tokens": 1}}, True),
        ({"choices": [], "usage": None}, False),
        ({"choices": [], "usage": {}}, False),
        ({"choices": []}, False),
        ({"choices": [{"delta": {}}], "usage": {"prompt_tokens": 1}}, False),
        ({"usage": {"prompt_tokens": 1}}, False),
    ],
)
def test_an_event_of_usage_alone_is_told_from_others(event: object, is_it: bool) -> None:
    """Nothing that brings text is ever taken for one."""
    assert is_usage_only(read(json.dumps(event, indent=1).encode())) is is_it


def test_a_large_event_counts_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text is not looked for: all of that part might be some."""
    monkeypatch.setattr(limits, "event_text_bytes_max", 20)
    for size, found in ((18, 18), (19, 21)):
        assert size_of({"delta": "a" * size}) == found


@pytest.mark.parametrize(
    "text",
    [b"", b"5", b"null", b"[]", b'"usage"', b'[{"usage":{"prompt_tokens":5}}]', b'{"usage":5',
     b'{"usage":NaN}', b'{"a":NaN}', b'{"a":01}', b'{"usage":{"\xff":1}}', b"{}{}"],
)  # fmt: skip
def test_what_is_no_object_is_no_event(text: bytes) -> None:
    """Nor is what strict JSON is not, wherever that stands."""
    with pytest.raises(ValueError, match=r".+"):
        read(text)
