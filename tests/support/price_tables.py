"""Prices as a configuration says them."""

import tomllib
from collections.abc import Mapping
from typing import Any, cast

from crewgate.config.declaration import TableSchema
from crewgate.config.prices import PriceKeys
from crewgate.config.toml_table_reader import TOMLTableReader
from crewgate.core.pricing.tariff import Tariff

TERM = '{ bytes = true, each = "1" }'


def tariff_of(text: str) -> tuple[Tariff | None, list[str]]:
    """What a tool's table says, and what is wrong with it."""
    return read(tomllib.loads(text))


def read(tool: dict[str, Any]) -> tuple[Tariff | None, list[str]]:
    """The same of a document."""
    problems: list[str] = []
    found = TableSchema(PriceKeys).read(TOMLTableReader(tool, "tool.t", problems), {})
    return cast("Mapping[str, Any]", found or {}).get("tariff"), problems
