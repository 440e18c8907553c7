"""The terms of a price: each names a part of a request or an answer, and its price."""

from typing import Any, cast

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key, Scope, TableSchema
from crewgate.config.toml_table_reader import TOMLTableReader, ValueParser
from crewgate.core.credits import format_credits
from crewgate.core.pricing.sources import SOURCES, PlaceKind, PriceTerm
from crewgate.core.pricing.sources import pointer as parse_pointer
from crewgate.core.pricing.tariff import MILLION

_ANYTHING: ValueParser[object] = ValueParser("anything", lambda value: value)


def _nothing(value: object) -> tuple[str, ...]:
    if value is not True:
        raise ValueError
    return ()


def _one(text: str, kind: ValueParser[Any]) -> Key:
    """Declare one of several keys, of which a table has exactly one."""
    return Key(text=text, kind=kind, default=None)


def rate(scale: int, expected: str) -> ValueParser[int]:
    """Read a price for a million / `scale` units as micro-credits for a million units."""
    return ValueParser(
        expected,
        values.passing(
            lambda value: values.micro_credits(value) * scale,
            lambda micro: micro <= limits.rate_micro_max,
        ),
        values.CREDITS_SCHEMA,
    )


def _unit_rate(scale: int) -> ValueParser[int]:
    highest = format_credits(min(limits.rate_micro_max // scale, limits.quota_micro_max))
    return rate(scale, f'credits as a text such as "0.002", at most "{highest}"')


_PLACES: dict[PlaceKind, ValueParser[tuple[str, ...]]] = {
    PlaceKind.NOTHING: ValueParser("true", _nothing, {"const": True}),
    PlaceKind.POINTER: ValueParser(
        'a JSON pointer such as "/usage/pages" (RFC 6901)',
        lambda value: parse_pointer(values.string(value)),
    ),
    PlaceKind.HEADER: ValueParser(values.FIELD.expected, lambda value: (values.FIELD.read(value),)),
}
_UNITS: dict[str, Key] = {
    "each": _one("Credits for each of them.", _unit_rate(MILLION)),
    "per_thousand": _one("Credits for a thousand of them.", _unit_rate(MILLION // 1000)),
    "per_million": _one("Credits for a million of them.", _unit_rate(1)),
}


class _TermType(TableSchema[PriceTerm]):
    """A table with one key for the part that is paid for, and one for its price."""

    def __init__(self, sources: list[type[PriceTerm]]) -> None:
        places = {
            source.key: _one((source.__doc__ or "").partition("\n")[0], _PLACES[source.place_kind])
            for source in sources
        }
        super().__init__(PriceTerm, {**places, **_UNITS})
        self._sources = {source.key: source for source in sources}

    def read(self, section: TOMLTableReader, scope: Scope, **_given: object) -> PriceTerm:
        """Read a term, which has exactly one of the sources and one of the units."""
        section.declare(*self.parts)
        sources = [key for key in self._sources if key in section.given]
        units = [unit for unit in _UNITS if unit in section.given]
        # `close` reports a misspelled key.
        is_misspelled = len(sources) + len(units) < len(section.given)
        if len(sources) > 1 or len(units) > 1 or not ((sources and units) or is_misspelled):
            section.problem(
                f"expected one of {', '.join(self._sources)} (what is paid for), and one of "
                f"{', '.join(_UNITS)} (how much)"
            )
        for unneeded in (*sources[1:], *units[1:]):
            section.optional(unneeded, _ANYTHING, None)
        kept = (*sources[:1], *units[:1])
        found: dict[str, Any] = {key: self.parts[key].read(section, key, scope) for key in kept}
        section.close()
        if not section.has_no_problems:
            return cast("PriceTerm", None)
        (source, place), (_, micro) = found.items()
        return self._sources[source](micro, place)


REQUEST_TERM = _TermType([source for source in SOURCES if source.in_request])
RESPONSE_TERM = _TermType([source for source in SOURCES if source.in_response])
