"""What the file says of one way across the crew boundary: who may call what without a token.

Says nothing of tokens: with one, a call is judged by it, crossing or not.
"""

import msgspec

from crewgate import limits
from crewgate.core import cross_crew_account


class CrossingConfig(msgspec.Struct, frozen=True):
    """Tools of crew `target` that orchestrators of crew `source` may call on their certificate.

    Credits are micro-credits: of all of them in an hour, and of one run, which is a process of an
    orchestrator over all renewals of its certificate. One that is not given does not apply.
    """

    source: str
    target: str
    tools: tuple[str, ...]  # names and patterns; only what `target` owns is meant
    credits_per_hour: int = limits.quota_micro_max
    credits_per_run: int = limits.quota_micro_max

    @property
    def account(self) -> str:
        """The name under which its calls are charged."""
        return cross_crew_account.account(self.source, self.target)
