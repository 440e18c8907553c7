"""The metrics, as crewgate/metrics/families.py declares them: name, type, labels, meaning."""

from _generate.markdown import code, table, text
from crewgate.metrics.families import FAMILIES
from crewgate.metrics.metric_family import MetricFamily


def markdown() -> str:
    """Tables of all metrics in the order of a scrape, one for each subject."""
    parts = []
    for subject, families in FAMILIES_BY_SUBJECT.items():
        rows = [_row(each) for each in families]
        parts.append(f"## {subject}\n\n{table(('name', 'type', 'labels', 'meaning'), rows)}")
    return "\n".join(parts)


def _row(family: MetricFamily) -> tuple[str, ...]:
    labels = ", ".join(code(each) for each in family.labels)
    return code(family.name), family.kind, labels, text(family.help)


def _by_subject() -> dict[str, list[MetricFamily]]:
    found: dict[str, list[MetricFamily]] = {}
    for family in FAMILIES:
        found.setdefault(family.subject, []).append(family)
    return found


FAMILIES_BY_SUBJECT = _by_subject()
