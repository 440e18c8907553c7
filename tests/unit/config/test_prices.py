"""A tool's price that is not one amount: what the file may say, and what is told of mistakes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from price_tables import TERM, read, tariff_of

from crewgate import limits
from crewgate.config import load
from crewgate.core.credits import format_credits
from crewgate.core.pricing.sources import BytesTerm, HeaderTerm, ItemsTerm, NumberTerm, TrailerTerm
from crewgate.core.pricing.tariff import MILLION, ModelRates, Tariff, UsagePricing
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]

TERMS = """\
[tool."search.web".price]
call = "0.001"
max = "0.5"
step = "0.01"
on_disconnect = "drain"

[[tool."search.web".price.request]]
items = "/queries"
each = "0.002"

[[tool."search.web".price.request]]
bytes = true
per_million = "0.5"

[[tool."search.web".price.response]]
number = "/usage/~1pages"
per_thousand = "3"

[[tool."search.web".price.response]]
bytes = true
per_million = "0.000001"

[[tool."search.web".price.response]]
header = "X-Cost-Units"
each = "0.000001"

[[tool."search.web".price.response]]
trailer = "x-rows"
per_thousand = "0.1"
"""

USAGE = """\
[tool."search.web".price]
max = "2"
usage = "anthropic"
on_short_credit = "refuse"
bytes_per_token = 4
allow = ["service_tier", "ttl"]

[tool."search.web".price.model."big-*"]
input = "3"
output = "15"
cached = "0.3"
cache_write = "3.75"
context_tokens = 200_000
output_tokens = 64_000

[tool."search.web".price.model.embed]
input = "0.02"
output = "0"
"""


def test_every_term_of_a_price_arrives(write: Write, whole: str) -> None:
    """Rates are micro-credits for a million units; a tool's price is the most that it costs."""
    text = whole.replace('price = "0.01"\n', "")
    tool = load(write(f"{text}\n{TERMS}")).tools[0]
    assert tool.tariff == Tariff(
        call=1000,
        max_cost=500_000,
        request=(
            ItemsTerm(2000 * MILLION, ("queries",)),
            BytesTerm(500_000),
        ),
        response=(
            NumberTerm(3_000_000_000, ("usage", "/pages")),
            BytesTerm(1),
            HeaderTerm(MILLION, ("x-cost-units",)),
            TrailerTerm(100_000_000, ("x-rows",)),
        ),
        step=10_000,
        on_disconnect="drain",
    )
    assert tool.price == 500_000


def test_every_word_on_models_arrives(write: Write, whole: str) -> None:
    """What a model's table does not say costs what its input does."""
    text = whole.replace('price = "0.01"\n', "")
    tool = load(write(f"{text}\n{USAGE}")).tools[0]
    big = ModelRates("big-*", 3_000_000, 15_000_000, 300_000, 3_750_000, 200_000, 64_000)
    usage = UsagePricing(
        "anthropic",
        (big, ModelRates("embed", 20_000, 0, 20_000, 20_000)),
        "refuse",
        4,
        ("service_tier", "ttl"),
    )
    assert tool.tariff == Tariff(call=0, max_cost=2_000_000, usage=usage, on_disconnect="drain")


def test_a_silent_price_has_the_documented_defaults() -> None:
    """A call whose answer states nothing at its end is given up with its client."""
    tariff, problems = tariff_of('price = { max = "1", request = [{ bytes = true, each = "1" }] }')
    assert problems == []
    assert tariff == Tariff(0, MILLION, request=(BytesTerm(10**12),))
    assert (tariff.step, tariff.on_disconnect) == (0, "cancel")
    model = 'model.m = { input = "1", output = "2" }'
    tariff, problems = tariff_of(f'price = {{ max = "1", usage = "gemini", {model} }}')
    assert problems == []
    assert tariff is not None
    assert tariff.on_disconnect == "drain"
    assert tariff.usage is not None
    assert (tariff.usage.on_short_credit, tariff.usage.bytes_per_token) == (
        "lower",
        limits.bytes_per_token,
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('price = "0.01"', []),
        ("price = 5", ["tool.t.price = 5: expected credits as a text"]),
        ("price = [1]", ["tool.t.price = [1]: expected credits as a text"]),
        ("", ["tool.t.price: missing; expected credits as a text"]),
    ],
)
def test_a_price_that_is_no_table_is_one_amount(text: str, told: list[str]) -> None:
    """Or a mistake, which is told as one."""
    tariff, problems = tariff_of(text)
    assert tariff is None
    assert len(problems) == len(told)
    assert all(map(str.startswith, problems, told))


def test_a_fixed_price_stands_beside_others(write: Write, whole: str) -> None:
    """A tool of one amount has no tariff."""
    assert [tool.tariff for tool in load(write(whole)).tools] == [None, None]


@given(
    st.integers(0, limits.rate_micro_max), st.sampled_from(["each", "per_thousand", "per_million"])
)
def test_a_rate_is_exact_or_refused(micro: int, unit: str) -> None:
    """No digit is lost on the way to micro-credits for a million units."""
    scale = {"each": MILLION, "per_thousand": 1000, "per_million": 1}[unit]
    micro = min(micro, limits.quota_micro_max)
    term = f'{{ bytes = true, {unit} = "{format_credits(micro)}" }}'
    tariff, problems = tariff_of(f'price = {{ max = "1", request = [{term}] }}')
    if micro * scale > limits.rate_micro_max:
        assert len(problems) == 1
        assert "expected credits as a text" in problems[0]
    else:
        assert tariff is not None
        assert (tariff.request[0].rate, problems) == (micro * scale, [])


def test_there_are_only_so_many_terms_and_models() -> None:
    """The bounds that a call's pricing is measured with."""
    for count, more in ((limits.price_terms_max, 0), (limits.price_terms_max + 1, 1)):
        terms = ", ".join([TERM] * count)
        _, problems = tariff_of(f'price = {{ max = "1", request = [{terms}] }}')
        assert len(problems) == more
    for count, more in ((limits.price_models_max, 0), (limits.price_models_max + 1, 1)):
        model = '{ input = "1", output = "0" }'
        models = ", ".join(f"m{number} = {model}" for number in range(count))
        text = f'price = {{ max = "1", usage = "openai", model = {{ {models} }} }}'
        assert len(tariff_of(text)[1]) == more


@pytest.mark.parametrize(
    ("price", "told"),
    [
        ('max = "0"', ["tool.t.price: max: 0 would make every call free; write more"]),
        ('max = "0", call = "1"', ["tool.t.price: max: 0 would make every call free; write more"]),
        (
            'max = "0.999999", call = "1"',
            ["tool.t.price: max: 0.999999 is less than call (1.00)"],
        ),
        ('max = "1", call = "1"', []),
    ],
)
def test_most_covers_a_call_and_is_not_nothing(price: str, told: list[str]) -> None:
    """Both amounts are named; of a `max` that is missing only that is told."""
    assert tariff_of(f"price = {{ {price}, request = [{TERM}] }}")[1] == told
    (problem,) = tariff_of(f'price = {{ call = "1", request = [{TERM}] }}')[1]
    assert problem.startswith("tool.t.price.max: missing")


json_values = st.recursive(
    st.booleans() | st.integers(-1, 9) | st.sampled_from(["", "1", "/a", "bytes", "openai", "0.5"]),
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.dictionaries(
            st.sampled_from(["max", "request", "response", "usage", "model", "bytes", "each", "m"]),
            parts,
            max_size=4,
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["max", "call", "request", "response", "usage", "model",
                                        "step"]), json_values))  # fmt: skip
def test_anything_under_a_price_is_a_tariff_or_a_mistake_that_is_told(
    table: dict[str, object],
) -> None:
    """Nothing is raised, and what is accepted has a most, and terms within their bounds."""
    tariff, problems = read(json.loads(json.dumps({"price": table})))
    assert (tariff is None) == bool(problems)
    assert tariff is None or (
        type(tariff.max_cost) is int
        and 0 <= tariff.max_cost <= limits.price_micro_max
        and all(0 <= term.rate <= limits.rate_micro_max for term in tariff.request)
    )


def test_a_mistake_in_a_price_refuses_the_file(write: Write, whole: str) -> None:
    """It is told with the tool's name, beside all others."""
    text = whole.replace('price = "0.01"', 'price = { max = "1" }')
    with pytest.raises(ConfigurationError, match=r'tool\."search\.web"\.price: expected request'):
        load(write(text))


def test_an_overrun_may_be_charged() -> None:
    """Where an answer states its cost; by itself it ends the branch."""
    text = 'price = { max = "1", response = [{ header = "x", each = "1" }]%s }'
    for more, said in (("", "end"), (', on_overrun = "charge"', "charge")):
        tariff, problems = tariff_of(text % more)
        assert not problems
        assert tariff is not None
        assert tariff.on_overrun == said
