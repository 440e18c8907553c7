"""Tokens as commands take them: from an argument or standard input."""

import sys

from crewgate import limits


def read_token(argument: str) -> str:
    """The token, from standard input where the argument is "-" (arguments show in `ps`)."""
    text = sys.stdin.read(16 * limits.token_bytes_max) if argument == "-" else argument
    return text.strip()
