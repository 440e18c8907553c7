"""What requests for language models ask for, and which of them nobody can bound."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tariffs import PATHS, ask, asking, by_usage, plain, rated, refusal

from crewgate import limits
from crewgate.core.pricing.editable_json import EditableJSON
from crewgate.core.pricing.llm_request import ask_for_usage, asked, bound
from crewgate.core.pricing.tariff import LLMDialect
from crewgate.errors import InvalidRequestError

TEXT, RESPONSES = b"/v1/completions", b"/v1/responses"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
DIALECTS: list[LLMDialect] = ["openai", "anthropic", "gemini"]


@pytest.mark.parametrize(
    ("path", "body", "written", "choices", "place"),
    [
        (b"", CHAT, 20, 1, "max_tokens"),
        (b"", {**CHAT, "n": 3}, 20, 3, "max_tokens"),
        (b"", {**CHAT, "n": None, "stream": False}, 20, 1, "max_tokens"),
        (b"", {"max_completion_tokens": 7}, 7, 1, "max_completion_tokens"),
        (TEXT, {"prompt": "a", "max_tokens": 5}, 5, 1, "max_tokens"),
        (TEXT, {"prompt": "a", "max_tokens": 5, "n": 2, "best_of": 4}, 5, 4, "max_tokens"),
        (TEXT, {"prompt": ["a", "b"], "max_tokens": 5, "n": 2}, 5, 4, "max_tokens"),
        (RESPONSES, {"input": "a", "max_output_tokens": 1}, 1, 1, "max_output_tokens"),
        (b"/llm", {"input": "a", "max_output_tokens": 1}, 1, 1, "max_output_tokens"),
        (b"/llm", CHAT, 20, 1, "max_tokens"),
    ],
)
def test_reads_the_bound_of_an_openais_answer(
    path: bytes, body: dict[str, Any], written: int, choices: int, place: str
) -> None:
    """Each kind of call says it, and how many answers it wants, in its own place."""
    body = {"model": "m", **body}
    found = ask(body, "openai", path)
    assert (found.written, found.choices, found.limits) == (written, choices, ((place,),))
    assert (found.name, found.streams) == ("m", False)
    assert found.read == len(plain(body)) + limits.framing_tokens


@pytest.mark.parametrize("outer", ["generationConfig", "generation_config"])
@pytest.mark.parametrize(
    ("written", "choices"),
    [("maxOutputTokens", "candidateCount"), ("max_output_tokens", "candidate_count")],
)
def test_reads_the_bound_of_others_answers(outer: str, written: str, choices: str) -> None:
    """Gemini's may be spelled in either way, outside and inside."""
    found = ask({"contents": [], outer: {written: 8, choices: 2}}, "gemini")
    assert (found.written, found.choices, found.limits) == (8, 2, ((outer, written),))
    found = ask(CHAT, "anthropic")
    assert (found.written, found.choices, found.limits) == (20, 1, (("max_tokens",),))


@pytest.mark.parametrize(
    ("dialect", "place"),
    [
        ("openai", ("max_completion_tokens",)),
        ("anthropic", ("max_tokens",)),
        ("gemini", ("generationConfig", "maxOutputTokens")),
    ],
)
def test_without_a_bound_the_models_own_holds(dialect: LLMDialect, place: tuple[str, ...]) -> None:
    """It is what may be answered, and the bound's place is where one would be written."""
    body: dict[str, Any] = {"model": "m", "messages": [], "max_tokens": None}
    found = ask(body, dialect, output_tokens=500)
    assert (found.written, found.limits) == (500, (place,))
    assert "the limit of the output" in refusal(body, dialect)
    assert ask({**CHAT, "max_tokens": 501}, output_tokens=500).written == 500
    assert ask({**CHAT, "max_tokens": 499}, output_tokens=500).written == 499


def test_a_model_whose_answers_cost_nothing_needs_no_bound() -> None:
    """As with embeddings: what is read is all that is paid for."""
    found = ask({"model": "m", "input": ["a", "b"]}, output=0)
    assert (found.written, found.choices) == (0, 1)


NO_BOUNDS = [
    "0", "-1", "-0", "1.5", "1e-1", "true", "false", '"5"', "[5]", "{}", "1e999", "1e10", "9" * 30,
    "1000000001",
]  # fmt: skip


@pytest.mark.parametrize("bound", NO_BOUNDS)
def test_what_is_no_whole_number_is_no_bound(bound: str) -> None:
    """A call is refused for it: one server would read it, another take it for none."""
    for name in ("max_tokens", "n"):
        members = b'"max_tokens":5,"%b":%b' % (name.encode(), bound.encode())
        text = b'{"model":"m","messages":[],%b}' % members
        assert f'"{name}" is not a whole number' in refusal(text, output_tokens=500)
    text = b'{"generationConfig":{"maxOutputTokens":5,"candidateCount":%b}}' % bound.encode()
    assert "candidateCount" in refusal(text, "gemini", output_tokens=500)


@pytest.mark.parametrize("text", ["5", "5.0", "5e0", "50E-1", "0.5e1"])
def test_a_whole_number_may_be_spelled_otherwise(text: str) -> None:
    """Every reader of JSON takes these for five."""
    body = b'{"model":"m","messages":[],"max_tokens":%b}' % text.encode()
    assert ask(body).written == 5


@pytest.mark.parametrize(
    "member",
    ['"MAX_TOKENS":9', '"Max_Tokens":9', '"max_to\u212aens":9', '"max_to\\u212Aens":9',
     '"MAX\\u005ftokens":9', '"max_token\u017f":9', '"N":2', '"MODEL":"m"', '"Stream":true',
     '"TOOLS":[]', '"PROMPT":{}', '"Max_Completion_Tokens":1'],
)  # fmt: skip
@pytest.mark.parametrize("first", [True, False])
def test_a_second_spelling_of_what_prices_a_call_is_refused(member: str, first: bool) -> None:
    """A server that ignores case would take it for the one that was read."""
    rest = json.dumps(CHAT)[1:-1]
    text = f"{{{member},{rest}}}" if first else f"{{{rest},{member}}}"
    said = refusal(text.encode(), output_tokens=500)
    assert "two spellings" in said or "may change what the call costs" in said


@pytest.mark.parametrize("member", ['"MAX_TOKENS":9', '"max_to\u212aens":9'])
def test_a_bound_that_stands_there_in_another_case_only_is_refused(member: str) -> None:
    """It is no bound to one server, and one to another."""
    text = f'{{"model":"m","messages":[],{member}}}'.encode()
    assert "two spellings" in refusal(text, output_tokens=500)


def test_the_last_of_a_bounds_repetitions_counts_and_alone_goes_on() -> None:
    """Also of those that are escaped; no server sees the others."""
    text = b'{"model":"x","messages":[],"max_tokens":1,"max\\u005ftokens":30,"mod\\u0065l":"m"}'
    document = EditableJSON(text)
    found = asked(by_usage(), document, PATHS["openai"], len(text))
    assert (found.written, found.name) == (30, "m")
    assert document.written() == b'{"model":"m","messages":[],"max_tokens":30}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", '"model" is missing'),
        ('"model":null,', '"model" is not a plain string of printable ASCII'),
        ('"model":5,', '"model" is not a plain string of printable ASCII'),
        ('"model":["m"],', '"model" is not a plain string of printable ASCII'),
        ('"model":"\\u006d",', '"model" is not a plain string of printable ASCII'),
        ('"model":"ｍ",', '"model" is not a plain string of printable ASCII'),
        ('"model":"m\x7f",', '"model" is not a plain string of printable ASCII'),
        ('"model":"",', '"model" must have 1 to 128 characters'),
        (f'"model":"{"m" * 129}",', '"model" must have 1 to 128 characters'),
        ('"model":"M",', 'there is no price for the model "M"'),
        ('"model":"m ",', 'there is no price for the model "m "'),
    ],
)
def test_a_model_is_named_plainly_or_not_at_all(text: str, said: str) -> None:
    """No spelling of a cheap model's name is read as a dear one's."""
    assert said in refusal(f'{{{text}"messages":[],"max_tokens":5}}'.encode())


@pytest.mark.parametrize(
    ("path", "streams", "written"),
    [
        (b"/v1beta/models/m:generateContent", False, 3),
        (b"/v1beta/models/m:streamGenerateContent", True, 3),
        (b"/v1/projects/p/publishers/google/models/m:streamGenerateContent", True, 3),
        (b"/v1beta/models/m:embedContent", False, 0),
        (b"/v1beta/models/m:countTokens", False, 0),
    ],
)
def test_geminis_model_and_manner_stand_in_the_path(
    path: bytes, streams: bool, written: int
) -> None:
    """Whatever its body says of either; embedding and counting answer no tokens."""
    for members in ({}, {"model": "x", "stream": not streams}):
        found = ask({**members, "generationConfig": {"maxOutputTokens": 3}}, "gemini", path)
        assert (found.name, found.streams, found.written) == ("m", streams, written)


@pytest.mark.parametrize(
    "path",
    [b"/v1beta/models/m", b"/v1beta/models/:generateContent", b"/models/%6d:generateContent",
     b"/models/m:generateContent/", b"/models/m/x:generateContent", b"/m:generateContent",
     b"/models/" + b"m" * 129 + b":generateContent", b"/models/m:", b"/models/m:predict",
     b"/models/m:batchGenerateContent", b"/models/m:GenerateContent"],
)  # fmt: skip
def test_a_path_that_is_no_call_of_a_model_has_no_price(path: bytes) -> None:
    """Encoded or cut names are no names, and other methods are other calls."""
    body = {"generationConfig": {"maxOutputTokens": 3}}
    assert "the path does not end with /models/NAME:" in refusal(body, "gemini", path)


def test_a_stream_is_asked_for_with_true() -> None:
    """Nothing else is one, as far as the price goes: it is paid for in full beforehand."""
    assert ask({**CHAT, "stream": True}).streams
    for value in (False, None, 1, "true", [True]):
        assert not ask({**CHAT, "stream": value}).streams


@pytest.mark.parametrize("dialect", DIALECTS)
@given(tokens=st.integers(limits.lowered_tokens_min, 10**9))
def test_an_answer_is_bounded_where_its_bound_is_read(dialect: LLMDialect, tokens: int) -> None:
    """Whether the request had one or not, the one that is written is read of it again."""
    for body in ({}, CHAT, {"max_tokens": 9, "max_completion_tokens": 8},
                 {"generationConfig": {"maxOutputTokens": 9, "max_output_tokens": 7}}):  # fmt: skip
        text = plain({"model": "m", "messages": [], **body})
        document = EditableJSON(text)
        usage = by_usage(dialect, rated(output_tokens=10**9))
        bound(document, asked(usage, document, PATHS[dialect], len(text)), tokens)
        again = EditableJSON(document.written())
        assert asked(usage, again, PATHS[dialect], len(text)).written == tokens


def test_every_given_bound_is_written() -> None:
    """A server that reads the other one is bounded as well; what answers nothing needs none."""
    document = EditableJSON(b'{"a":1,"max_tokens":50,"max_completion_tokens":60}')
    places = ("max_tokens",), ("max_completion_tokens",)
    bound(document, asking(limits=places, written=0), 16)
    assert document.written() == b'{"a":1,"max_tokens":50,"max_completion_tokens":60}'
    bound(document, asking(limits=places), 16)
    assert document.written() == b'{"a":1,"max_tokens":16,"max_completion_tokens":16}'


ASKED = {"include_usage": True}


@pytest.mark.parametrize(
    ("path", "body", "hides", "options"),
    [
        (b"", {}, True, ASKED),
        (TEXT, {}, True, ASKED),
        (b"", {"stream_options": None}, True, ASKED),
        (b"", {"stream_options": {"a": 1}}, True, {"a": 1, **ASKED}),
        (TEXT, {"stream_options": {"include_usage": False}}, True, ASKED),
        (b"", {"stream_options": ASKED}, False, ASKED),
        (RESPONSES, {"input": "a"}, False, None),
    ],
)
def test_a_stream_is_made_to_state_its_usage(
    path: bytes, body: object, hides: bool, options: object
) -> None:
    """Only where servers would not; what the client had not asked for, it is not to see."""
    document = EditableJSON(plain(body))
    assert ask_for_usage(document, path or PATHS["openai"]) is hides
    assert json.loads(document.written()).get("stream_options") == options


@pytest.mark.parametrize("options", [5, "include_usage", True, [], [{"include_usage": True}]])
def test_odd_options_of_a_stream_are_refused(options: object) -> None:
    """There is no place to ask for its usage."""
    with pytest.raises(InvalidRequestError, match='"stream_options" is not an object'):
        ask_for_usage(EditableJSON(plain({"stream_options": options})), PATHS["openai"])
