"""What went wrong in a soak: counted in full, shown in part."""

from collections import Counter

SHOWN = 4  # of each kind


class Faults:
    """Faults by kind."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.shown: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self.counts)

    def add(self, kind: str, detail: str) -> None:
        """One more."""
        self.counts[kind] += 1
        if self.counts[kind] <= SHOWN:
            self.shown.setdefault(kind, []).append(detail)

    def lines(self) -> list[str]:
        """Every kind, with the first few of it."""
        return [
            line
            for kind, count in self.counts.most_common()
            for line in (f"{kind}: {count}", *(f"    {each}" for each in self.shown[kind]))
        ]
