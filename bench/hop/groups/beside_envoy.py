"""What each point promises beside Envoy: at most so much of its CPU, and no longer p99.

All bounds are ratios within a round, so that they hold on any processor or on none.
"""

from bench.hop.figures import CPU, P99, RATE, Figure, find
from bench.hop.gateways import CREWGATE, ENVOY
from bench.hop.groups.group import Results
from bench.report import Goal

P99_MAX = 1.0
RATE_MIN = 1.0


def over(results: Results, case: str, name: str, figure: Figure) -> float | None:
    """Return Crewgate's figure over that of another gateway; None if one of them is not here."""
    own, other = find(results, case, CREWGATE), find(results, case, name)
    return own.ratio(figure, other).median if own and other else None


def goals_of(results: Results, case: str, cpu_max: float) -> list[Goal]:
    """Return the goals of a case; none if Envoy is not here."""
    bounds = ((CPU, "CPU", cpu_max), (P99, "p99", P99_MAX), (RATE, "requests a second", RATE_MIN))
    return [
        Goal(f"{what} over Envoy's, {case}", bound, ratio, "×", least=figure is RATE)
        for figure, what, bound in bounds
        if (ratio := over(results, case, ENVOY, figure)) is not None
    ]
