"""The price of a tool: one amount, or a table of terms, prices of models, and bounds."""

import re
from typing import Annotated

import msgspec
from msgspec.structs import replace

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key, KeyOrTable, Scope, TableList, TableMap, TableSchema
from crewgate.config.price_terms import REQUEST_TERM, RESPONSE_TERM, rate
from crewgate.config.toml_table_reader import TOMLTableReader
from crewgate.core.credits import format_credits
from crewgate.core.pricing.sources import PriceTerm
from crewgate.core.pricing.tariff import (
    DisconnectPolicy,
    LLMDialect,
    ModelRates,
    OverrunPolicy,
    ShortCreditPolicy,
    Tariff,
    UsagePricing,
)

PRICE = values.credits_up_to(limits.price_micro_max)
Price = Annotated[int, PRICE]

_TOKENS = values.integer(1, limits.tokens_max)
# These keys have no effect without the key `usage`.
_OF_USAGE = ("model", "on_short_credit", "bytes_per_token", "allow")


_PRINTABLE = re.compile("[ -~]+")
# The price of an answer is required even if it is 0: a forgotten price would allow free answers of
# any length.
_TOKEN_RATE = rate(1, 'credits for a million tokens, such as "2.50"')
_ANSWER_RATE = rate(1, 'credits for a million tokens, such as "10.00"; "0" if it answers none')
_MEMBER = values.pattern_text(
    'the name of a member of a request, such as "service_tier"', _PRINTABLE, limits.model_chars_max
)
Members = Annotated[tuple[str, ...], values.listed(_MEMBER, limits.fields_max)]
_MODEL_NAME = values.pattern_text(
    f"the name of a model, 1 to {limits.model_chars_max} printable characters",
    _PRINTABLE,
    limits.model_chars_max,
)


_CACHE_RATE = Key(kind=_TOKEN_RATE, default=lambda scope: scope["input"], absent="`input`")
# The struct is in the core, which knows no configuration. Rates are for a million tokens.
_MODEL = TableSchema(
    ModelRates,
    {
        "input": Key(kind=_TOKEN_RATE, text="Price of tokens that it reads."),
        "output": Key(kind=_ANSWER_RATE, text="Price of tokens that it answers."),
        "cached": replace(
            _CACHE_RATE, text="Price of tokens that it reads from the provider's cache."
        ),
        "cache_write": replace(
            _CACHE_RATE, text="Price of tokens that it writes into the provider's cache."
        ),
        "context_tokens": Key(
            kind=_TOKENS,
            text="Tokens that it can read: for pictures, files and stored conversations.",
            absent="not known",
        ),
        "output_tokens": Key(
            kind=_TOKENS,
            text="Tokens that it can answer; needed where requests set no limit.",
            absent="not known",
        ),
    },
)


def _on_disconnect(scope: Scope) -> DisconnectPolicy:
    return "cancel" if scope["usage"] is None else "drain"


class _PriceTable(msgspec.Struct, frozen=True):
    max_cost: Annotated[Price, "Credits that one call may cost at most.", Key(name="max")]
    call: Annotated[Price, "Credits for each call, beside the rest."] = 0
    request: Annotated[
        tuple[PriceTerm, ...],
        "Parts of a request that are paid for: one key says which part, and one how much.",
        TableList(of=REQUEST_TERM, max_count=limits.price_terms_max),
    ] = ()
    response: Annotated[
        tuple[PriceTerm, ...],
        "Parts of an answer that are paid for: one key says which part, and one how much.",
        TableList(of=RESPONSE_TERM, max_count=limits.price_terms_max),
    ] = ()
    usage: Annotated[LLMDialect | None, "Form in which a model's answers state their usage."] = None
    models: Annotated[
        tuple[ModelRates, ...],
        'A model. If NAME ends in "*", all models whose names begin with the text before "*". Any '
        "other model gets 422.",
        TableMap(of=_MODEL, name="model", max_count=limits.price_models_max, names=_MODEL_NAME),
    ] = ()
    on_short_credit: Annotated[
        ShortCreditPolicy,
        'If the credit left does not pay for all tokens that a request allows, "lower" that limit, '
        'or "refuse" the request.',
    ] = "lower"
    bytes_per_token: Annotated[
        int,
        values.integer(1, 64),
        "Bytes of a stream that count as a token until it states its usage.",
    ] = limits.bytes_per_token
    allow: Annotated[
        Members,
        "Members, tools, betas and fields of requests that pass although they may cost more.",
    ] = ()
    step: Annotated[
        Price,
        "Credits by which the reservation grows while an answer comes.",
        Key(absent="all is reserved before"),
    ] = 0
    on_disconnect: Annotated[
        DisconnectPolicy,
        'When the client leaves, "cancel" the call, or "drain": read the answer to its end.',
        Key(default=_on_disconnect, absent='"drain" with `usage`, else "cancel"'),
    ] = "cancel"
    on_overrun: Annotated[
        OverrunPolicy,
        'If an answer states more than was reserved, "end" the branch, or "charge" it the rest.',
    ] = "end"

    def check(self, section: TOMLTableReader) -> None:
        """Note a price without anything to pay for, idle keys, and impossible bounds."""
        idle = [key for key in _OF_USAGE if key in section.given and self.usage is None]
        if idle:
            section.problem(f"{', '.join(idle)}: no effect without usage; add usage")
        elif not (self.request or self.response or self.usage):
            section.problem('expected request, response or usage; a fixed price is price = "0.01"')
        else:
            self._check_answer(section)
        self._check_bounds(section)

    def _check_answer(self, section: TOMLTableReader) -> None:
        if self.usage is not None and not self.models:
            section.problem("model: missing, so every request would be refused; add one")
        if self.usage is not None and self.response:
            section.problem("response: usage is the price of an answer already; remove one of them")
        if self.on_overrun != "end" and not (self.usage or self.response):
            section.problem("on_overrun: no answer states the cost of a call here; leave it out")
        streams = self.usage is not None or any(term.is_counted for term in self.response)
        if self.step and not streams:
            section.problem(
                "step: no part of this price depends on a streamed answer; leave it out"
            )

    def _check_bounds(self, section: TOMLTableReader) -> None:
        highest = format_credits(self.max_cost)
        if not self.max_cost:
            section.problem("max: 0 would make every call free; write more")
        elif self.max_cost < self.call:
            section.problem(f"max: {highest} is less than call ({format_credits(self.call)})")
        elif self.max_cost < self.step:
            section.problem(f"step: {format_credits(self.step)} is more than max ({highest})")

    def build(self) -> Tariff:
        """Return the price as the core has it."""
        usage = self.usage and UsagePricing(
            self.usage, self.models, self.on_short_credit, self.bytes_per_token, self.allow
        )
        return Tariff(
            self.call,
            self.max_cost,
            self.request,
            self.response,
            usage,
            self.step,
            self.on_disconnect,
            self.on_overrun,
        )


def price_table() -> TableSchema[_PriceTable]:
    """Return the keys of a price that is a table."""
    return TableSchema(_PriceTable)


class PriceKeys(msgspec.Struct, frozen=True):
    """The key with the price of a tool."""

    price: Annotated[
        int | Tariff,
        PRICE,
        "Credits that each call costs, or a table of what is paid for.",
        KeyOrTable(of=price_table()),
    ]

    def build(self) -> dict[str, object]:
        """Return the highest cost of a call, and the tariff if the price is a table."""
        if isinstance(self.price, Tariff):
            return {"price": self.price.max_cost, "tariff": self.price}
        return {"price": self.price, "tariff": None}
