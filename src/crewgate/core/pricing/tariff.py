"""Tariffs, for prices that are not fixed: quantities times rates, in integer micro-credits.

A rate is in micro-credits for a million units, so that a price per token of a fraction of a
micro-credit is exact. All charges of a call are added up, then rounded up once: a fraction of a
micro-credit costs a whole one.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from crewgate import limits
from crewgate.core.pricing.sources import PriceTerm, Quantity

MILLION = 1_000_000

LLMDialect = Literal["openai", "anthropic", "gemini"]
ShortCreditPolicy = Literal["lower", "refuse"]
DisconnectPolicy = Literal["cancel", "drain"]
OverrunPolicy = Literal["end", "charge"]


class ModelRates(msgspec.Struct, frozen=True):
    """A model's rates by kind of token, in micro-credits for a million; `name` may end in "*".

    `cached` is for tokens read from the provider's cache, `cache_write` for those written into it.
    `context_tokens` bounds what the model can read for a request, `output_tokens` what it can
    write; 0 if not known.
    """

    name: str
    input: int
    output: int
    cached: int
    cache_write: int
    context_tokens: int = 0
    output_tokens: int = 0

    def names(self, model: str) -> bool:
        """Return whether the rates are for a request that names `model`."""
        if self.name.endswith("*"):
            return model.startswith(self.name[:-1])
        return model == self.name


class UsagePricing(msgspec.Struct, frozen=True):
    """Prices by the usage that a language model's server states.

    `on_short_credit`: what to do if the credit left does not pay for all that the call may output.
    `bytes_per_token` estimates the tokens of a stream that has not stated them yet. `allow` names
    members of a request that pass although they may change its price.
    """

    dialect: LLMDialect
    models: tuple[ModelRates, ...]
    on_short_credit: ShortCreditPolicy = "lower"
    bytes_per_token: int = limits.bytes_per_token
    allow: tuple[str, ...] = ()

    def model(self, name: str) -> ModelRates | None:
        """Return the rates of a model: by its exact name, else by the longest prefix, else None."""
        fitting = [model for model in self.models if model.names(name)]
        return max(fitting, key=lambda model: (model.name == name, len(model.name)), default=None)


class Tariff(msgspec.Struct, frozen=True):
    """A price that is not fixed; amounts are micro-credits.

    Attributes:
        call: The charge for each call, whatever it asks for.
        max_cost: The maximum that any call may cost.
        request: What is charged by quantities that the request states.
        response: What is charged by quantities that the response states.
        usage: What is charged by the tokens of a language model.
        step: If not 0, a streamed response is not reserved in full beforehand: the reservation
            grows by this much at a time.
        on_disconnect: What to do with a call whose client has gone.
        on_overrun: What to do if a response costs more than was reserved. "end" ends the branch.
            "charge" takes the excess from the branch's credit, and ends it if that is not enough.
        is_mcp: The response is a message of an MCP server, or a stream of them.
        charges_unfinished: Charge a call that an MCP server answers with a question.
    """

    call: int
    max_cost: int
    request: tuple[PriceTerm, ...] = ()
    response: tuple[PriceTerm, ...] = ()
    usage: UsagePricing | None = None
    step: int = 0
    on_disconnect: DisconnectPolicy = "cancel"
    on_overrun: OverrunPolicy = "end"
    is_mcp: bool = False
    charges_unfinished: bool = True

    @property
    def reads_body(self) -> bool:
        """Whether a request cannot be priced before all of it has arrived."""
        return self.usage is not None or any(term.needs_body for term in self.request)

    @property
    def reads_answer(self) -> bool:
        """Whether the cost is known only from the response."""
        return self.usage is not None or bool(self.response) or not self.charges_unfinished

    @property
    def reads_json(self) -> bool:
        """Whether the cost depends on JSON in the response."""
        return not self.charges_unfinished or any(term.reads_json for term in self.response)

    @property
    def counts_answer(self) -> bool:
        """Whether the cost grows with each part of the response that arrives."""
        return any(term.is_counted for term in self.response)


def cost(call: int, charges: Iterable[tuple[int, Quantity]]) -> int:
    """Return micro-credits: `call`, plus each (rate, units) of `charges`, rounded up once."""
    total: Quantity = 0
    for rate, units in charges:
        total += rate * units
    return call - int(-total // MILLION)
