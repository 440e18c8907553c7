"""What is wrong with a price is told with its place, once."""

import tomllib

import pytest

from crewgate.config.prices import read_tariff
from crewgate.config.section import Section
from crewgate.core.prices import Tariff

TERM = '{ bytes = true, each = "1" }'
MODEL = 'model.m = { input = "1", output = "2" }'


def tariff_of(text: str) -> tuple[Tariff | None, list[str]]:
    """What a tool's table says, and what is wrong with it."""
    problems: list[str] = []
    tool = Section(tomllib.loads(text), "tool.t", problems)
    return read_tariff(tool), problems


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ('most = "1"', "tool.t.price: expected request, response or usage; a fixed price is"),
        (f"request = [{TERM}]", "tool.t.price.most: missing; expected credits as a text"),
        (f"most = 1, request = [{TERM}]", "tool.t.price.most = 1: expected credits as a text"),
        (f'most = "-1", request = [{TERM}]', 'tool.t.price.most = "-1": expected credits'),
        (f'most = "549756", request = [{TERM}]', 'tool.t.price.most = "549756": expected credits'),
        (f'most = "1", call = "1.1", request = [{TERM}]', "most: a call alone costs more"),
        (f'most = "1", step = "1", request = [{TERM}]', "step: nothing of this price comes while"),
        (
            f'most = "1", hang_up = "wait", request = [{TERM}]',
            'hang_up = "wait": expected "cancel"',
        ),
        (f'most = "1", mots = "1", request = [{TERM}]', 'mots: unknown key; did you mean "most"?'),
        ('most = "1", request = 5', "request = 5: expected tables"),
        ('most = "1", request = ["a"]', "expected tables"),
        ('most = "1", request = [{}]', "request[0]: expected one of bytes, number, items, and one"),
        ('most = "1", request = [{ bytes = true }]', "and one of each, per_thousand, per_million"),
        ('most = "1", request = [{ each = "1" }]', "request[0]: expected one of"),
        ('most = "1", request = [{ bytes = false, each = "1" }]', "bytes = false: expected true"),
        ('most = "1", request = [{ number = "a", each = "1" }]', 'number = "a": expected a JSON'),
        ('most = "1", request = [{ number = "/~2", each = "1" }]', '"~" is written "~0"'),
        ('most = "1", request = [{ items = 5, each = "1" }]', "items = 5: expected a JSON pointer"),
        ('most = "1", request = [{ header = "a", each = "1" }]', "request[0].header: unknown key"),
        (
            'most = "1", response = [{ header = "x cost", each = "1" }]',
            'header = "x cost": expected the name of a header field',
        ),
        ('most = "1", request = [{ bytes = true, each = 1 }]', "each = 1: expected credits"),
        (
            'most = "1", request = [{ bytes = true, each = "1e3" }]',
            'each = "1e3": expected credits',
        ),
        ('most = "1", request = [{ bytes = true, a = 1 }]', "request[0].a: unknown key"),
        (f'most = "1", usage = "cohere", {MODEL}', 'usage = "cohere": expected "openai" or'),
        (f'most = "1", {MODEL}', "model: there is no usage to be paid for"),
        ('most = "1", usage = "openai"', "model: there is none with a price"),
        (
            f'most = "1", usage = "openai", {MODEL}, response = [{TERM}]',
            "response: the answer's price is its usage; write one of the two",
        ),
        (
            f'most = "1", usage = "openai", short = "cut", {MODEL}',
            'short = "cut": expected "lower"',
        ),
        (
            f'most = "1", usage = "openai", bytes_per_token = 0, {MODEL}',
            "bytes_per_token = 0: expected a whole number from 1 to 64",
        ),
        (f'most = "1", usage = "openai", allow = "ttl", {MODEL}', 'allow = "ttl": expected a list'),
        ('most = "1", usage = "openai", model.m.output = "1"', "model.m.input: missing"),
        (
            'most = "1", usage = "openai", model.m = { input = "1", context_tokens = true }',
            "context_tokens = true: expected a whole number",
        ),
        (
            'most = "1", usage = "openai", model.m = { input = "1", ouput = "2" }',
            'model.m.ouput: unknown key; did you mean "output"?',
        ),
        (
            'most = "1", usage = "openai", model."" = { input = "1" }',
            "expected the name of a model",
        ),
        (
            'most = "1", usage = "openai", model."ü" = { input = "1" }',
            "expected the name of a model",
        ),
        (f'most = "1", usage = "openai", model.{"m" * 129}.input = "1"', "1 to 128 printable"),
    ],
)
def test_mistakes_are_told_with_their_place(inside: str, said: str) -> None:
    """Each with its key; what one mistake leaves behind is read on."""
    _, problems = tariff_of(f"price = {{ {inside} }}")
    assert [problem for problem in problems if said in problem], problems


@pytest.mark.parametrize(
    "inside",
    [f'most = "1", call = "1", step = "1", usage = "openai", {MODEL}',
     f'most = "1", step = "2", response = [{TERM}]',
     'most = "1", request = [{ bytes = true, each = "1000000" }]',
     'most = "1", usage = "openai", model.m = { input = "1", context_tokens = 1 }'],
)  # fmt: skip
def test_what_is_just_within_bounds_is_no_mistake(inside: str) -> None:
    """A step goes with tokens and with bytes, and a bound may be reached."""
    assert tariff_of(f"price = {{ {inside} }}")[1] == []


@pytest.mark.parametrize("more", ['items = "/a", each = "1"', 'each = "1", per_million = "1"'])
def test_one_mistake_is_told_once(more: str) -> None:
    """A key too much is not called unknown besides."""
    _, problems = tariff_of(f'price = {{ most = "1", request = [{{ bytes = true, {more} }}] }}')
    assert len(problems) == 1
    assert "request[0]: expected one of" in problems[0]
