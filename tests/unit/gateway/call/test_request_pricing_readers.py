"""No server reads another bound than was priced, whatever it makes of repetitions and of case."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tariffs import PATHS, by_usage, plain, rated, values

from crewgate.core.pricing.tariff import LLMDialect, Tariff
from crewgate.errors import InvalidRequestError
from crewgate.gateway.call.request_pricing import price
from crewgate.server.request import Request, build

DIALECTS: list[LLMDialect] = ["openai", "anthropic", "gemini"]


def request(dialect: LLMDialect) -> Request:
    parts: dict[str, Any] = {"method": b"POST", "authority": b"a", "version": "2", "stream": 1}
    return build(target=PATHS[dialect], fields=[], streamed=True, **parts)


# How servers tell names from each other: exactly, or by one notion of case or another.
FOLDS: list[Callable[[str], str]] = [str, str.lower, str.casefold, lambda it: it.upper().casefold()]
letters = {"k": "kK\u212a", "s": "sS\u017f"}


def spelled(name: str) -> st.SearchStrategy[str]:
    """A name as JSON, more often than not in another spelling."""
    others = "".join(letters.get(letter, letter.upper())[-1] for letter in name)
    escaped = f"\\u{ord(name[0]):04x}{name[1:]}"
    return st.sampled_from([name, name, escaped, name.upper(), others, "other"])


def readings(text: bytes, *steps: str) -> set[Any]:
    """What servers find there: the first of a name or the last, whatever they call a name."""
    found = set()
    for fold in FOLDS:
        for order in (1, -1):
            value: Any = json.loads(text, object_pairs_hook=lambda pairs: ("object", pairs))
            for step in steps:
                pairs = value[1][::order] if isinstance(value, tuple) else []
                value = next((inner for name, inner in pairs if fold(name) == fold(step)), None)
            found.add(value)
    return found


@given(st.data(), st.sampled_from(["max_tokens", "n"]), st.booleans())
def test_no_server_reads_another_bound_than_was_priced(
    data: st.DataObject, name: str, ahead: bool
) -> None:
    """Whether it takes the first of a name or the last, whether or not it looks at its case."""
    pairs = data.draw(st.lists(st.tuples(spelled(name), st.integers(1, 9)), max_size=4))
    members = [f'"{other}":{value}' for other, value in pairs]
    rest = ['"model":"m"', '"messages":[]']
    text = "{" + ",".join([*members, *rest] if ahead else [*rest, *members]) + "}"
    usage = by_usage("openai", rated(output_tokens=9))
    try:
        found = price(Tariff(0, 10**6, usage=usage), request("openai"), text.encode())
    except InvalidRequestError:
        return
    assert found.meter.request is not None
    asked = found.meter.request.written if name == "max_tokens" else found.meter.request.choices
    absent = 9 if name == "max_tokens" else 1
    assert {value or absent for value in readings(found.body or b"", name)} == {asked}


@given(st.data())
def test_no_server_of_gemini_reads_another_bound_than_was_priced(data: st.DataObject) -> None:
    """The same inside of an object that may itself stand there in several spellings."""
    inner = st.lists(st.tuples(spelled("maxOutputTokens"), st.integers(1, 9)), max_size=3)
    outer = st.lists(st.tuples(spelled("generationConfig"), inner), max_size=3)
    members = [
        f'"{name}":{{{",".join(f"{chr(34)}{key}{chr(34)}:{value}" for key, value in pairs)}}}'
        for name, pairs in data.draw(outer)
    ]
    usage = by_usage("gemini", rated(output_tokens=9))
    text = f"{{{','.join(members)}}}".encode()
    try:
        found = price(Tariff(0, 10**6, usage=usage), request("gemini"), text)
    except InvalidRequestError:
        return
    assert found.meter.request is not None
    read = readings(found.body or b"", "generationConfig", "maxOutputTokens")
    assert {value or 9 for value in read} == {found.meter.request.written}


@given(st.dictionaries(st.sampled_from(["messages", "max_tokens", "n", "stream", "prompt", "a",
                                        "generationConfig", "input", "best_of"]),
                       values | st.integers(0, 50)), st.sampled_from(DIALECTS))  # fmt: skip
def test_any_json_has_a_price_or_is_refused(body: dict[str, Any], dialect: LLMDialect) -> None:
    """Nothing else is raised; what has a price goes on as it was, but for bounds and usage."""
    text = plain({"model": "m", **body})
    usage = by_usage(dialect, rated(output_tokens=50))
    try:
        found = price(Tariff(0, 10**6, usage=usage), request(dialect), text)
    except InvalidRequestError:
        return
    assert 0 < found.bound <= 10**6
    sent, came = json.loads(found.body or b""), json.loads(text)
    assert sent.pop("stream_options", {"include_usage": True}) == {"include_usage": True}
    for value in (sent, came):
        for name in ("max_tokens", "max_completion_tokens", "generationConfig"):
            inner = value.pop(name, None)
            value[name] = {**inner, "maxOutputTokens": 0} if isinstance(inner, dict) else None
    assert sent in (came, {**came, "generationConfig": {"maxOutputTokens": 0}})
