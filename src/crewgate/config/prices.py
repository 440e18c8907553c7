"""The section of a tool's price, where it is not one amount: terms, models, bounds.

Knows the keys and their defaults, and what must hold within one price.
"""

from typing import cast

from crewgate import limits
from crewgate.config import values
from crewgate.config.section import Section, ValueType
from crewgate.core.credits import format_credits
from crewgate.core.pricing.sources import SOURCES, PlaceKind, PriceTerm
from crewgate.core.pricing.sources import pointer as parse_pointer
from crewgate.core.pricing.tariff import (
    MILLION,
    DisconnectPolicy,
    LLMDialect,
    ModelRates,
    OverrunPolicy,
    ShortCreditPolicy,
    Tariff,
    UsagePricing,
)

PRICE = values.credits_up_to(limits.price_micro_max)

_DIALECT: ValueType[LLMDialect] = values.one_of("openai", "anthropic", "gemini")
_ON_SHORT_CREDIT: ValueType[ShortCreditPolicy] = values.one_of("lower", "refuse")
_ON_DISCONNECT: ValueType[DisconnectPolicy] = values.one_of("cancel", "drain")
_ON_OVERRUN: ValueType[OverrunPolicy] = values.one_of("end", "charge")
_TOKENS = values.integer(1, limits.tokens_max)
_UNITS = {"each": MILLION, "per_thousand": MILLION // 1000, "per_million": 1}
_Sources = dict[str, type[PriceTerm]]
_REQUEST: _Sources = {source.key: source for source in SOURCES if source.in_request}
_RESPONSE: _Sources = {source.key: source for source in SOURCES if source.in_response}
_OF_USAGE = ("model", "on_short_credit", "bytes_per_token", "allow")


def _pointer(value: object) -> tuple[str, ...]:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - one kind of error for whatever is wrong with a value
    return parse_pointer(value)


def _field(value: object) -> tuple[str, ...]:
    return (values.FIELD.read(value),)


def _nothing(value: object) -> tuple[str, ...]:
    if value is not True:
        raise ValueError
    return ()


def _model_name(value: object) -> str:
    is_text = isinstance(value, str) and value.isascii() and value.isprintable()
    if not is_text or not 0 < len(cast("str", value)) <= limits.model_chars_max:
        raise ValueError
    return cast("str", value)


def _rate(scale: int, expected: str) -> ValueType[int]:
    """Micro-credits for a million units, of an amount for `scale` times fewer."""

    def read(value: object) -> int:
        rate = values.micro_credits(value) * scale
        if rate > limits.rate_micro_max:
            raise ValueError
        return rate

    return ValueType(expected, read)


_PLACES: dict[PlaceKind, ValueType[tuple[str, ...]]] = {
    PlaceKind.NOTHING: ValueType("true", _nothing),
    PlaceKind.POINTER: ValueType('a JSON pointer such as "/usage/pages" (RFC 6901)', _pointer),
    PlaceKind.HEADER: ValueType(values.FIELD.expected, _field),
}
_UNIT_RATES = {
    unit: _rate(
        scale,
        'credits as a text such as "0.002", at most '
        f'"{format_credits(min(limits.rate_micro_max // scale, limits.quota_micro_max))}"',
    )
    for unit, scale in _UNITS.items()
}
# That an answer costs nothing is said: forgotten, it would be free, and as long as it likes.
_TOKEN_RATE = _rate(1, 'credits for a million tokens, such as "2.50"')
_ANSWER_RATE = _rate(1, 'credits for a million tokens, such as "10.00"; "0" if it answers none')
_ANYTHING: ValueType[object] = ValueType("anything", lambda value: value)
_MEMBER = ValueType('the name of a member of a request, such as "service_tier"', _model_name)
_MODEL_NAME = ValueType(
    f"the name of a model, 1 to {limits.model_chars_max} printable characters", _model_name
)


def read_tariff(tool: Section) -> Tariff | None:
    """The table under `price`; None where the file has none. Problems are noted in the section."""
    if not tool.has_table("price"):
        return None
    section = tool.child("price")
    if section is None:
        raise AssertionError("a table was there a moment ago")
    given = section.keys()
    read = _usage(section)
    usage = read if "usage" in given else None
    tariff = Tariff(
        call=section.optional("call", PRICE, 0),
        max_cost=section.required("max", PRICE),
        request=_terms(section, "request", _REQUEST),
        response=_terms(section, "response", _RESPONSE),
        usage=usage,
        step=section.optional("step", PRICE, 0),
        on_disconnect=section.optional(
            "on_disconnect", _ON_DISCONNECT, "cancel" if usage is None else "drain"
        ),
        on_overrun=section.optional("on_overrun", _ON_OVERRUN, "end"),
    )
    section.close()
    if section.has_no_problems:
        idle = [key for key in _OF_USAGE if key in given and usage is None]
        _check(tariff, idle, section)
    return tariff


def _check(tariff: Tariff, idle: list[str], section: Section) -> None:
    """What must hold between keys; `idle` are those of a usage that is not said."""
    if idle:
        section.problem(
            f"{', '.join(idle)}: there is no usage to be paid for; write how it is stated"
        )
    elif not (tariff.request or tariff.response or tariff.usage):
        section.problem('expected request, response or usage; a fixed price is price = "0.01"')
    else:
        _check_answer(tariff, section)
    _check_bounds(tariff, section)


def _check_answer(tariff: Tariff, section: Section) -> None:
    if tariff.usage is not None and not tariff.usage.models:
        section.problem("model: there is none with a price; a request for any other is refused")
    if tariff.usage is not None and tariff.response:
        section.problem("response: the answer's price is its usage; write one of the two")
    streams = tariff.usage is not None or tariff.counts_answer
    if tariff.on_overrun != "end" and not tariff.reads_answer:
        section.problem("on_overrun: no answer states what a call costs here; leave it out")
    if tariff.step and not streams:
        section.problem("step: nothing of this price comes while an answer streams; leave it out")


def _check_bounds(tariff: Tariff, section: Section) -> None:
    most = format_credits(tariff.max_cost)
    if not tariff.max_cost:
        section.problem("max: nothing is paid")
    elif tariff.max_cost < tariff.call:
        section.problem(f"max: {most}, and a call alone costs {format_credits(tariff.call)}")
    elif tariff.max_cost < tariff.step:
        section.problem(f"step: {format_credits(tariff.step)}, and a whole call at most {most}")


def _terms(section: Section, key: str, sources: _Sources) -> tuple[PriceTerm, ...]:
    return tuple(_term(item, sources) for item in section.items(key, limits.price_terms_max))


def _term(section: Section, sources: _Sources) -> PriceTerm:
    section.declare(*sources, *_UNITS)
    keys = section.keys()
    given = [source for source in sources if source in keys]
    units = [unit for unit in _UNITS if unit in keys]
    is_misspelt = len(given) + len(units) < len(keys)  # what lacks is told with that key
    if len(given) > 1 or len(units) > 1 or not ((given and units) or is_misspelt):
        section.problem(
            f"expected one of {', '.join(sources)}, and one of {', '.join(_UNITS)}: "
            "what is paid for, and how much"
        )
    for unneeded in (*given[1:], *units[1:]):
        section.optional(unneeded, _ANYTHING, None)
    key = given[0] if given else next(iter(sources))
    source = sources[key]
    nowhere: tuple[str, ...] = ()
    place = section.optional(key, _PLACES[source.place_kind], nowhere)
    rate = section.optional(units[0], _UNIT_RATES[units[0]], 0) if units else 0
    section.close()
    return source(rate, place)


def _usage(section: Section) -> UsagePricing:
    """What is said of it, also where the file does not say that there is one."""
    return UsagePricing(
        section.optional("usage", _DIALECT, "openai"),
        tuple(
            _model(name, table, section)
            for name, table in section.children("model", limits.price_models_max)
        ),
        section.optional("on_short_credit", _ON_SHORT_CREDIT, "lower"),
        section.optional("bytes_per_token", values.integer(1, 64), limits.bytes_per_token),
        section.optional("allow", values.listed(_MEMBER, limits.fields_max), ()),
    )


def _model(name: str, section: Section, price: Section) -> ModelRates:
    try:
        _MODEL_NAME.read(name)
    except ValueError:
        price.problem(f"model {name!r}: expected {_MODEL_NAME.expected}")
    read = section.required("input", _TOKEN_RATE)
    model = ModelRates(
        name,
        input=read,
        output=section.required("output", _ANSWER_RATE),
        cached=section.optional("cached", _TOKEN_RATE, read),
        cache_write=section.optional("cache_write", _TOKEN_RATE, read),
        context_tokens=section.optional("context_tokens", _TOKENS, 0),
        output_tokens=section.optional("output_tokens", _TOKENS, 0),
    )
    section.close()
    return model
