"""A process that spends a branch's credit call by call until it is exhausted, whatever happens.

Arguments: the configuration file and a token. When the agent dies it attaches anew. It prints how
many calls were admitted.
"""

import sys
import time
from pathlib import Path

from blocking_attachment import BlockingAttachment

from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.table import Table
from crewgate.config import load
from crewgate.core.reasons import Reason
from crewgate.errors import ServiceConnectionError
from crewgate.policy.loader import load_policy


class Spender:
    """One attachment after another, and the calls that were admitted."""

    def __init__(self, file: str, token: bytes) -> None:
        self.config = load(Path(file))
        self.token = token
        self.admitted = 0
        self.attach(None)

    def attach(self, previous: BlockingAttachment | None) -> None:
        if previous is not None:
            previous.close()
        while True:
            try:
                old = previous.attached if previous else None
                self.attachment = BlockingAttachment.open(self.config.state, previous=old)
            except ServiceConnectionError:
                time.sleep(0.01)
                continue
            break
        attached = self.attachment.attached
        self.gate = Gate(Table.attach(self.attachment.table), attached.number)
        self.gate.load(load_policy(self.config, attached.policy_generation))

    def call(self) -> bool:
        """One call; False once the branch is exhausted."""
        verdict = self.gate.decide(self.token, 0)
        if isinstance(verdict, Permit):
            verdict.settle()
            self.admitted += 1
            return True
        if verdict.reason is Reason.CREDITS_EXHAUSTED:
            return False
        try:
            if verdict.retry and verdict.grant is not None:
                self.attachment.draw(verdict.grant, self.config.tools[0].price, seconds=1)
            else:
                self.attachment.poll()
        except ServiceConnectionError:
            self.attach(self.attachment)
        return True


def main(file: str, token: str) -> None:
    spender = Spender(file, token.encode())
    sys.stdout.write("attached\n")
    sys.stdout.flush()
    while spender.call():
        time.sleep(0.001)
    sys.stdout.write(f"{spender.admitted}\n")


main(*sys.argv[1:])
