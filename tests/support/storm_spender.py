"""A worker of a table storm: reserves and settles as fast as it can until it is killed.

`python storm_spender.py TABLE ATTACHMENT NOW AUDIT TOKEN…` with the policy on standard input.
Appends a "." to AUDIT before each settle, so that a count of admitted calls survives it, and an "x"
where the agent had burned the call: it may drop a number late, when another process has it.
"""

import os
import random
import sys
from contextlib import suppress

import msgspec

from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.table import Table
from crewgate.core.policy.policy import Policy
from crewgate.errors import AlreadySettledError


def main(path: str, attachment: int, now: int, audit: str, tokens: list[bytes]) -> None:
    policy = msgspec.json.decode(sys.stdin.buffer.read(), type=Policy)
    fd = os.open(path, os.O_RDWR)
    gate = Gate(Table.attach(fd), attachment)
    gate.load(policy)
    gate.clock = (now * 10**9, 10**15)
    log = os.open(audit, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    choose = random.Random(attachment)
    held: list[Permit] = []
    os.write(1, b"ready\n")
    while True:
        verdict = gate.decide(choose.choice(tokens), 0)
        if isinstance(verdict, Permit):
            held.append(verdict)
        if len(held) > 20 or (held and not isinstance(verdict, Permit)):
            permit = held.pop(choose.randrange(len(held)))
            if choose.random() < 0.2:
                with suppress(AlreadySettledError):
                    permit.release()
            else:
                os.write(log, b".")
                try:
                    permit.settle()
                except AlreadySettledError:
                    os.write(log, b"x")


if __name__ == "__main__":
    main(
        sys.argv[1],
        int(sys.argv[2]),
        int(sys.argv[3]),
        sys.argv[4],
        [token.encode() for token in sys.argv[5:]],
    )
