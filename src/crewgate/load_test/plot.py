"""Draws latency over rate as a PNG, with matplotlib (the extra `bench`)."""

import io
from collections.abc import Sequence

from crewgate.errors import DependencyError
from crewgate.load_test.result import StepResult
from crewgate.runtime.install_hint import install_hint

_SHOWN = ("p50", "p90", "p99", "p99.9")


def require_matplotlib() -> None:
    """Raise DependencyError with the remedy if matplotlib is not installed."""
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 - it is large, and most runs draw nothing
    except ImportError as error:
        raise DependencyError(install_hint("--plot", "bench")) from error


def latency_png(title: str, results: Sequence[StepResult]) -> bytes:
    """Return a PNG: milliseconds over requests a second, a line for each percentile.

    A vertical line shows the answers a second of each step without a fixed rate. Raises
    DependencyError if matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure  # noqa: PLC0415 - the same

    by_rate = sorted((result for result in results if result.rate), key=lambda each: each.rate)
    points = [(each.rate, found) for each in by_rate if (found := each.percentiles())]
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    for name in _SHOWN:
        axes.plot(
            [rate for rate, _ in points],
            [found[name] for _, found in points],
            marker="o",
            label=name,
        )
    for result in results:
        if not result.rate:
            axes.axvline(result.per_second, color="grey", linestyle="--", label=result.name)
    axes.set(yscale="log", xlabel="requests a second", ylabel="milliseconds", title=title)
    axes.set_xlim(left=0)
    axes.grid(visible=True, which="both", linewidth=0.3)
    axes.legend()
    data = io.BytesIO()
    figure.savefig(data, dpi=120, format="png")
    return data.getvalue()
