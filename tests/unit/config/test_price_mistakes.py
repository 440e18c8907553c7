"""What is wrong with a price is told with its place, once."""

import pytest
from price_tables import TERM, tariff_of

from crewgate.core.pricing.sources import SOURCES

REQUEST = ", ".join(source.key for source in SOURCES if source.in_request)
RESPONSE = ", ".join(source.key for source in SOURCES if source.in_response)
FREE = '{ input = "1", output = "0" }'
MODEL = 'model.m = { input = "1", output = "2" }'


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ('max = "1"', "tool.t.price: expected request, response or usage; a fixed price is"),
        (f"request = [{TERM}]", "tool.t.price.max: missing; expected credits as a text"),
        (f"max = 1, request = [{TERM}]", "tool.t.price.max = 1: expected credits as a text"),
        (f'max = "-1", request = [{TERM}]', 'tool.t.price.max = "-1": expected credits'),
        (f'max = "549756", request = [{TERM}]', 'tool.t.price.max = "549756": expected credits'),
        (
            f'max = "1", call = "1.1", request = [{TERM}]',
            "price: max: 1.00 is less than call (1.10)",
        ),
        (
            f'max = "1", step = "1", request = [{TERM}]',
            "step: no part of this price depends on a streamed",
        ),
        (
            f'max = "1", on_disconnect = "wait", request = [{TERM}]',
            'on_disconnect = "wait": expected "cancel"',
        ),
        (f'max = "1", mxa = "1", request = [{TERM}]', 'mxa: unknown key; did you mean "max"?'),
        (
            f'max = "1", on_overrun = "pay", request = [{TERM}]',
            'on_overrun = "pay": expected "end" or "charge"',
        ),
        (
            f'max = "1", on_overrun = "charge", request = [{TERM}]',
            "on_overrun: no answer states the cost of a call here",
        ),
        ('max = "1", request = 5', "request = 5: expected tables"),
        ('max = "1", request = ["a"]', "expected tables"),
        (
            'max = "1", request = [{}]',
            f"request[0]: expected one of {REQUEST} (what is paid for), and one",
        ),
        ('max = "1", request = [{ bytes = true }]', "and one of each, per_thousand, per_million"),
        ('max = "1", request = [{ each = "1" }]', "request[0]: expected one of"),
        ('max = "1", request = [{ bytes = false, each = "1" }]', "bytes = false: expected true"),
        ('max = "1", request = [{ number = "a", each = "1" }]', 'number = "a": expected a JSON'),
        ('max = "1", request = [{ number = "/~2", each = "1" }]', '"~" is written "~0"'),
        ('max = "1", request = [{ items = 5, each = "1" }]', "items = 5: expected a JSON pointer"),
        ('max = "1", request = [{ header = "a", each = "1" }]', "request[0].header: unknown key"),
        (
            'max = "1", response = [{ header = "x cost", each = "1" }]',
            'header = "x cost": expected the name of a header field',
        ),
        ('max = "1", request = [{ bytes = true, each = 1 }]', "each = 1: expected credits"),
        (
            'max = "1", request = [{ bytes = true, each = "1e3" }]',
            'each = "1e3": expected credits',
        ),
        ('max = "1", request = [{ bytes = true, a = 1 }]', "request[0].a: unknown key"),
        (f'max = "1", usage = "cohere", {MODEL}', 'usage = "cohere": expected "openai" or'),
        (f'max = "1", {MODEL}', "model: no effect without usage"),
        ('max = "1", usage = "openai"', "model: missing, so every request would be refused"),
        (
            f'max = "1", usage = "openai", {MODEL}, response = [{TERM}]',
            "response: usage is the price of an answer already; remove one of them",
        ),
        (
            f'max = "1", usage = "openai", on_short_credit = "cut", {MODEL}',
            'on_short_credit = "cut": expected "lower"',
        ),
        (
            f'max = "1", usage = "openai", bytes_per_token = 0, {MODEL}',
            "bytes_per_token = 0: expected a whole number from 1 to 64",
        ),
        (f'max = "1", usage = "openai", allow = "ttl", {MODEL}', 'allow = "ttl": expected a list'),
        ('max = "1", usage = "openai", model.m.output = "1"', "model.m.input: missing"),
        (
            'max = "1", usage = "openai", model."gpt-4o*".input = "1"',
            'model."gpt-4o*".output: missing; expected credits for a million tokens, such as',
        ),
        (
            f'max = "1", usage = "openai", {MODEL}, model.n = {{ input = "1", output = 5 }}',
            "model.n.output = 5: expected credits for a million tokens",
        ),
        (
            'max = "1", usage = "openai", model.m = { input = "1", context_tokens = true }',
            "context_tokens = true: expected a whole number",
        ),
        (
            'max = "1", usage = "openai", model.m = { input = "1", ouput = "2" }',
            'model.m.ouput: unknown key; did you mean "output"?',
        ),
        (
            f'max = "1", step = "1.5", usage = "openai", {MODEL}',
            "price: step: 1.50 is more than max (1.00)",
        ),
        (
            'max = "1", usage = "openai", model."" = { input = "1" }',
            "expected the name of a model",
        ),
        (
            'max = "1", usage = "openai", model."ü" = { input = "1" }',
            "expected the name of a model",
        ),
        (f'max = "1", usage = "openai", model.{"m" * 129}.input = "1"', "1 to 128 printable"),
    ],
)
def test_mistakes_are_told_with_their_place(inside: str, said: str) -> None:
    """Each with its key; what one mistake leaves behind is read on."""
    _, problems = tariff_of(f"price = {{ {inside} }}")
    assert [problem for problem in problems if said in problem], problems


@pytest.mark.parametrize(
    "inside",
    [f'max = "1", call = "1", step = "1", usage = "openai", {MODEL}',
     f'max = "1", step = "1", response = [{TERM}]',
     'max = "1", request = [{ bytes = true, each = "1000000" }]',
     'max = "1", usage = "openai", model.m = { input = "1", output = "0", context_tokens = 1 }'],
)  # fmt: skip
def test_what_is_just_within_bounds_is_no_mistake(inside: str) -> None:
    """A step goes with tokens and with bytes, and a bound may be reached."""
    assert tariff_of(f"price = {{ {inside} }}")[1] == []


SAID = [
    ('request = [{ bytes = true, items = "/a", each = "1" }]', "request[0]: expected one of"),
    (
        'request = [{ bytes = true, each = "1", per_million = "1" }]',
        f"request[0]: expected one of {REQUEST} (what is paid for), and one of each, per_thousand",
    ),
    (
        'request = [{ bytes = true, per_milion = "1" }]',
        'request[0].per_milion: unknown key; did you mean "per_million"?',
    ),
    ('request = [{ byte = true, each = "1" }]', 'byte: unknown key; did you mean "bytes"?'),
    (
        'request = [{ bytes = true, zzz = "1" }]',
        f"zzz: unknown key; known: {REQUEST}, each, per_thousand, per_million",
    ),
    (
        'response = [{ bytes = true, zzz = "1" }]',
        f"known: {RESPONSE}, each, per_thousand, per_million",
    ),
    ('request = { bytes = true, each = "1" }', "expected tables, each headed [[tool.t.price.re"),
    (
        f'usage = "open-ai", on_short_credit = "refuse", step = "0.1", {MODEL}',
        'price.usage = "open-ai": expected "openai" or "anthropic" or "gemini"',
    ),
    (
        f'usag = "openai", on_short_credit = "refuse", bytes_per_token = 4, allow = [], {MODEL}',
        'price.usag: unknown key; did you mean "usage"?',
    ),
    (
        f'on_short_credit = "refuse", {MODEL}',
        "price: model, on_short_credit: no effect without usage; add usage",
    ),
    ('usage = "openai", model = 5', "price.model = 5: expected a table: [tool.t.price.model]"),
    ('usage = "openai", modle.m.input = "1"', 'price.modle: unknown key; did you mean "model"?'),
    ('usage = "openai", model.m = 5', "price.model.m = 5: expected a table"),
]


@pytest.mark.parametrize(("inside", "said"), SAID)
def test_one_mistake_is_told_once(inside: str, said: str) -> None:
    """What follows from it is no mistake besides, and every key that is possible is named."""
    (problem,) = tariff_of(f'price = {{ max = "1", {inside} }}')[1]
    assert said in problem


def test_a_rate_that_is_no_amount_is_told_with_one_example() -> None:
    """How to write it, and nothing that contradicts it."""
    (problem,) = tariff_of('price = { max = "1", request = [{ bytes = true, each = "1e3" }] }')[1]
    assert problem == (
        'tool.t.price.request[0].each = "1e3": expected credits as a text such as "0.002", '
        'at most "1000000.00" (write digits with at most six decimals)'
    )


def test_what_answers_nothing_is_said_to_cost_nothing() -> None:
    """Forgotten, an answer would be free, and as long as it likes."""
    forgotten = 'price = { max = "1", usage = "openai", model.m.input = "1" }'
    (problem,) = tariff_of(forgotten)[1]
    assert problem.endswith(
        ".output: missing; expected credits for a million tokens, such as "
        '"10.00"; "0" if it answers none'
    )
    tariff, problems = tariff_of(forgotten.replace('m.input = "1"', f"m = {FREE}"))
    assert problems == []
    assert tariff is not None
    assert tariff.usage is not None
    assert tariff.usage.models[0].output == 0
