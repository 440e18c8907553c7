"""An embedder of a storm: decides through `Verifier.from_config` until it is ended.

`python embedder.py CONFIG TOKEN TOOL`: writes one letter an answer: P permit, E exhausted, R
revoked, U unavailable, D any other denial.
"""

import os
import sys
import time

from crewgate import Denial, Permit, Reason, Verifier
from crewgate.errors import ServiceConnectionError

LETTERS = {
    Reason.CREDITS_EXHAUSTED: b"E",
    Reason.BRANCH_REVOKED: b"R",
    Reason.BUDGET_UNAVAILABLE: b"U",
    Reason.REVOCATION_UNAVAILABLE: b"U",
}


def attached(config: str) -> Verifier:
    """Once an agent is there: the storm kills that too."""
    while True:
        try:
            return Verifier.from_config(config)
        except ServiceConnectionError:
            time.sleep(0.05)


def main(config: str, token: str, tool: str) -> None:
    with attached(config) as verifier:
        while True:
            verdict = verifier.admit_blocking(token, tool)
            if isinstance(verdict, Permit):
                os.write(1, b"P")
            elif isinstance(verdict, Denial):
                os.write(1, LETTERS.get(verdict.reason, b"D"))
            time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:4])
