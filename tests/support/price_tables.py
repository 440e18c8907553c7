"""Prices as a configuration says them."""

import tomllib

from crewgate.config.prices import read_tariff
from crewgate.config.section import Section
from crewgate.core.pricing.tariff import Tariff

TERM = '{ bytes = true, each = "1" }'


def tariff_of(text: str) -> tuple[Tariff | None, list[str]]:
    """What a tool's table says, and what is wrong with it."""
    problems: list[str] = []
    tool = Section(tomllib.loads(text), "tool.t", problems)
    return read_tariff(tool), problems
