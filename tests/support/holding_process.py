"""A process that attaches, gets a permit with a reservation, says so, and then does as it is told.

Arguments: the configuration file, a token, and `cuts` if it promises to answer cuts. It prints
"held" once it holds the reservation. A line on its input makes it settle and print "settled".
"""

import sys
from pathlib import Path

from blocking_attachment import BlockingAttachment

from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.table import Table
from crewgate.config import load
from crewgate.core.verdict import Denial
from crewgate.ipc.handshake import attach
from crewgate.policy.loader import load_policy


def main(file: str, token: str, *more: str) -> None:
    config = load(Path(file))
    attachment = BlockingAttachment(attach(config.state, answers_cuts="cuts" in more))
    table = Table.attach(attachment.table)
    gate = Gate(table, attachment.attached.number)
    gate.load(load_policy(config, attachment.attached.policy_generation))
    verdict = gate.decide(token.encode(), 0, request=bytes(range(16)))
    if isinstance(verdict, Denial) and verdict.retry:
        assert verdict.grant is not None
        attachment.draw(verdict.grant, config.tools[0].price, seconds=5)
        verdict = gate.decide(token.encode(), 0, request=bytes(range(16)))
    assert isinstance(verdict, Permit), verdict
    sys.stdout.write("held\n")
    sys.stdout.flush()
    sys.stdin.readline()
    verdict.settle()
    sys.stdout.write("settled\n")
    sys.stdout.flush()
    sys.stdin.readline()


main(*sys.argv[1:])
