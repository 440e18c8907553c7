"""The dashboard of deploy/grafana: it is up to date, names what exists, and shows every metric."""

import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from promql_names import DECLARED, labels_of, named

from crewgate.metrics.families import FAMILIES

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
TEXT = (FOLDER / "crewgate.json").read_text()
PANELS: list[dict[str, Any]] = [
    panel for panel in json.loads(TEXT)["panels"] if panel["type"] != "row"
]


def test_the_file_is_what_the_program_writes() -> None:
    """Run `python deploy/grafana/dashboard.py` after a change of the metrics or of the panels."""
    spec = spec_from_file_location("dashboard_program", FOLDER / "dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    program = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(program)
    assert program.build() == TEXT


def test_grafana_s_own_model_reads_it() -> None:
    """And loses nothing."""
    read = Dashboard.from_json(json.loads(TEXT))
    assert json.loads(json.dumps(read, cls=JSONEncoder)) == json.loads(TEXT)


def test_each_metric_is_in_a_panel() -> None:
    """An operator finds each metric on the dashboard."""
    shown = {
        name
        for panel in PANELS
        for target in panel["targets"]
        for name in named(target["expr"]).metrics
    }
    assert [
        each.name
        for each in FAMILIES
        if not shown & {each.name, f"{each.name}_bucket", f"{each.name}_count"}
    ] == []


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_panel_names_what_exists(panel: dict[str, Any]) -> None:
    """Metrics and labels, also in the legends; each follows the choice of machines."""
    assert panel["description"]
    for target in panel["targets"]:
        assert named(target["expr"]).faults == []
        assert 'instance=~"$instance"' in target["expr"]
        legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        expression = target["expr"].removeprefix("time() - ")
        assert legend <= labels_of(expression, {})
        crews = {"crew", "tool"} & set().union(
            *(DECLARED[name] for name in named(target["expr"]).metrics)
        )
        assert all(f'{label}=~"${label}"' in target["expr"] for label in crews)


def test_the_panels_do_not_overlap() -> None:
    """24 columns."""
    taken = set()
    for panel in json.loads(TEXT)["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
