"""Crewgate: who is calling, under whose grant, may it use this tool, and can it still pay?"""

from crewgate._native.permit import Permit
from crewgate.core.verdict import Denial, Reason
from crewgate.verifier import Verifier

__all__ = ["Denial", "Permit", "Reason", "Verifier"]
