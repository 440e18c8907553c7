"""A process that makes calls of a limited tool on a shared table, for tests of limits.

`python limit_caller.py TABLE ATTACHMENT NOW TOKEN BOARD` with the policy on standard input's first
line. With the attachment -1 it is an embedded verifier. If BOARD is empty, it reads a boot time a
line, makes calls at that time until many in a row are refused, and writes how many were admitted.
Else it makes calls and ends them at random until it is killed, and has the number of its calls
under way on the board.
"""

import os
import random
import sys

import msgspec
from limit_board import Board

from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.table import Table
from crewgate.core.policy.policy import Policy

REFUSALS = 200
TOOL = 2  # free.ping
BOOT = 10**15


def admitted(gate: Gate, token: bytes) -> int:
    """How many calls pass before many in a row are refused."""
    count = refused = 0
    while refused < REFUSALS:
        verdict = gate.decide(token, TOOL)
        if isinstance(verdict, Permit):
            verdict.settle()
            count += 1
            refused = 0
        else:
            refused += 1
    return count


def hold(gate: Gate, token: bytes, board: Board, number: int) -> None:
    """Make calls and end them, until this process is killed."""
    choose, held = random.Random(), list[Permit]()
    while True:
        verdict = gate.decide(token, TOOL)
        if isinstance(verdict, Permit):
            held.append(verdict)
            board.put(number, len(held))
        while held and (not isinstance(verdict, Permit) or choose.random() < 0.4):
            board.put(number, len(held) - 1)  # first: the board never shows too many
            held.pop(choose.randrange(len(held))).settle()
            if choose.random() < 0.5:
                break


def main(path: str, attachment: int, now: int, token: bytes, board: str) -> None:
    policy = msgspec.json.decode(sys.stdin.readline(), type=Policy)
    holds = attachment >= 0
    gate = Gate(Table.attach(os.open(path, os.O_RDWR)), max(attachment, 0), holds=holds)
    gate.clock = (now * 10**9, BOOT)
    gate.load(policy)
    os.write(1, b"ready\n")
    if board:
        hold(gate, token, Board(board), attachment)
    for line in sys.stdin:
        gate.clock = (now * 10**9, int(line))
        os.write(1, b"%d\n" % admitted(gate, token))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].encode(), sys.argv[5])
