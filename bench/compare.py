"""`python -m bench.compare FILE...`: ratios of several runs side by side, a column a processor.

Times of two processors cannot be compared; ratios within a round can. A ratio that holds on one
processor only is no property of the program.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench import processor
from bench.__main__ import WIDTH
from bench.hop.figures import CPU, P99, RATE
from bench.report import headed

FIGURES = (CPU, P99, RATE)
UNKNOWN = "not recorded"
Key = tuple[str, str]  # the case and what it is compared with, or the figure


@dataclass
class Block:
    """The ratios of one group: for each column, a ratio by its key. Keys keep their order."""

    title: str
    columns: list[dict[Key, float]] = field(default_factory=list)

    @property
    def keys(self) -> list[Key]:
        """Those that at least one column has, all figures of a case beside each other."""
        found = dict.fromkeys(key for column in self.columns for key in column)
        cases = list(dict.fromkeys(case for case, _ in found))
        return sorted(found, key=lambda key: cases.index(key[0]))


def ratios_of_hop(group: Mapping[str, Any]) -> dict[Key, float]:
    """Return Crewgate's figures over those of each other gateway."""
    found = {}
    for result in group["results"]:
        for figure in FIGURES:
            ratio = result.get("crewgate_over", {}).get(figure.name)
            if ratio:
                point = f"{result['case']}: {result['name']}"
                found[point, figure.ratio] = ratio["median"]
    return found


def ratios_of_decisions(group: Mapping[str, Any]) -> dict[Key, float]:
    """Return each time over that of its reference."""
    return {
        (result["name"], f"of {result['reference']}"): result["ratio"]["median"]
        for result in group["results"]
        if result.get("ratio")
    }


def parts(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[Key, float]]]:
    """Yield the title, the processor and the ratios of each group of a document."""
    hop = document.get("hop", {})
    for name, group in hop.get("groups", {}).items():
        machine = group.get("machine") or hop.get("machine")
        yield f"{name}: {group['title']}", described(machine), ratios_of_hop(group)
    for group in document.get("groups", ()):
        yield group["title"], described(document.get("machine")), ratios_of_decisions(group)


def described(machine: Mapping[str, Any] | None) -> str:
    """Return a processor in one line."""
    return processor.line(machine) if machine else UNKNOWN


def compared(documents: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[Block]]:
    """Return what each column is of, and the groups; a document has a column a processor."""
    found = [list(parts(document)) for document in documents]
    columns = list(
        dict.fromkeys((place, cpu) for place, each in enumerate(found) for _, cpu, _ in each)
    )
    blocks: dict[str, Block] = {}
    for place, each in enumerate(found):
        for title, cpu, ratios in each:
            block = blocks.setdefault(title, Block(title, [{} for _ in columns]))
            block.columns[columns.index((place, cpu))].update(ratios)
    return [cpu for _, cpu in columns], [block for block in blocks.values() if block.keys]


def table(block: Block) -> Table:
    """A group: a row a ratio, a column a processor."""
    numbers = tuple(str(number) for number in range(1, len(block.columns) + 1))
    shown = headed(block.title, ("", *numbers))
    for key in block.keys:
        cells = [f"{column[key]:.3g}" if key in column else "" for column in block.columns]
        shown.add_row(*key, *cells)
    return shown


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(files: tuple[Path, ...]) -> None:
    """Show the ratios of the results FILES side by side."""
    columns, blocks = compared([json.loads(file.read_text(encoding="utf-8")) for file in files])
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    for number, cpu in enumerate(columns, 1):
        console.print(f"{number}: {cpu}", highlight=False)
    console.print()
    for block in blocks:
        console.print(table(block))
        console.print()


if __name__ == "__main__":
    main()
