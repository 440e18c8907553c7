"""What a call costs beyond a fixed price: quantities times rates, in integer micro-credits.

A rate is micro-credits for a million units, so that tokens of a fraction of a micro-credit are
exact. All that a call is charged is added up first and rounded once, up: a fraction of a
micro-credit costs one. Knows neither requests nor answers, only what is to be read there.
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
    """A model's rates by kind of token; `name` may end in "*".

    `context_tokens` bounds what a request can make it read, `output_tokens` what it can answer; 0
    where that is not known.
    """

    name: str
    input: int
    output: int
    cached: int
    cache_write: int  # into the provider's cache
    context_tokens: int = 0
    output_tokens: int = 0

    def names(self, model: str) -> bool:
        """Whether a request for `model` is one for this."""
        if self.name.endswith("*"):
            return model.startswith(self.name[:-1])
        return model == self.name


class UsagePricing(msgspec.Struct, frozen=True):
    """Prices by the usage that a language model's server states.

    `on_short_credit` says what becomes of a call when the credit left does not pay for all that it
    may answer. `bytes_per_token` guesses the tokens of a stream that has not stated them yet.
    `allow` are members of a request that pass although they may change its price.
    """

    dialect: LLMDialect
    models: tuple[ModelRates, ...]
    on_short_credit: ShortCreditPolicy = "lower"
    bytes_per_token: int = limits.bytes_per_token
    allow: tuple[str, ...] = ()

    def model(self, name: str) -> ModelRates | None:
        """The one that names it best: itself, or the longest beginning."""
        fitting = [model for model in self.models if model.names(name)]
        return max(fitting, key=lambda model: (model.name == name, len(model.name)), default=None)


class Tariff(msgspec.Struct, frozen=True):
    """A price that is not fixed. `call` is for each call, whatever it is; `max_cost` for any.

    With a `step` an answer that streams is not paid for in full beforehand: its reservation grows
    by so much at a time. `on_disconnect` says what becomes of a call whose client has gone,
    `on_overrun` what becomes of an answer that states more than was reserved: its branch is ended,
    or charged out of what it has left, and ended only if that does not pay for it.
    """

    call: int
    max_cost: int
    request: tuple[PriceTerm, ...] = ()
    response: tuple[PriceTerm, ...] = ()
    usage: UsagePricing | None = None
    step: int = 0
    on_disconnect: DisconnectPolicy = "cancel"
    on_overrun: OverrunPolicy = "end"

    @property
    def reads_body(self) -> bool:
        """Whether a request cannot be priced before all of it has come."""
        return self.usage is not None or any(term.needs_body for term in self.request)

    @property
    def reads_answer(self) -> bool:
        """Whether the cost is known only afterwards."""
        return self.usage is not None or bool(self.response)

    @property
    def counts_answer(self) -> bool:
        """Whether what an answer costs grows with each part of it that comes."""
        return any(term.is_counted for term in self.response)


def cost(call: int, charges: Iterable[tuple[int, Quantity]]) -> int:
    """Micro-credits of a call: `call`, and each rate for its units; a fraction costs one more."""
    total: Quantity = 0
    for rate, units in charges:
        total += rate * units
    return call - int(-total // MILLION)
