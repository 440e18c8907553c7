"""Writes crewgate.json, the dashboard for Grafana: `python deploy/grafana/dashboard.py`.

The table `ROWS` has the panels. The text of a panel is the meaning of its metrics, as the code
declares them. tests/deploy/test_dashboard.py checks that the file is what this program writes, and
that each metric is in a panel.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from crewgate.metrics.families import FAMILIES

FILE = Path(__file__).with_name("crewgate.json")
_SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
_HEIGHT = 8
_METRIC = re.compile(r"crewgate_[a-z_]+")
# What a panel shows of which machines, crews and tools: the variables at the top.
MACHINES = 'instance=~"$instance"'
CREWS = f'{MACHINES},crew=~"$crew"'
TOOLS = f'{MACHINES},tool=~"$tool"'
CALLS = f'{MACHINES},crew=~"$crew",tool=~"$tool"'


class Query(NamedTuple):
    """A query, and the legend of its lines."""

    expression: str
    legend: str = ""

    def named(self, words: str) -> "Query":
        """Return the query with `words` before its legend."""
        return Query(self.expression, f"{words} {self.legend}".strip())

    def hourly(self) -> "Query":
        """Return what a rate is in an hour."""
        return Query(f"{self.expression} * 3600", self.legend)

    def per(self, other: "Query") -> "Query":
        """Return the quotient of two queries with the same labels."""
        return Query(f"{self.expression} / {other.expression}", self.legend)


def joined(how: str, expression: str, by: tuple[str, ...]) -> Query:
    """Return the query that joins all series with the same labels `by`."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    return Query(f"{how} by ({', '.join(by)}) ({expression})", legend)


def rate(name: str, *by: str, where: str = MACHINES) -> Query:
    """Return how much a counter grows in a second."""
    return joined("sum", f"rate({name}{{{where}}}[$__rate_interval])", by)


def in_last_hour(name: str, *by: str) -> Query:
    """Return how often a rare event has happened in the last hour."""
    return joined("sum", f"increase({name}{{{MACHINES}}}[1h])", by)


def gauge(name: str, *by: str, where: str = MACHINES, join: str = "sum") -> Query:
    """Return the value of a gauge."""
    return joined(join, f"{name}{{{where}}}", by)


def quantile(share: float, name: str, *by: str, where: str = MACHINES) -> Query:
    """Return a quantile of a histogram."""
    buckets = rate(f"{name}_bucket", *by, "le", where=where).expression
    return Query(f"histogram_quantile({share}, {buckets})", joined("", "", by).legend)


def quantiles(name: str, where: str = MACHINES) -> tuple[Query, ...]:
    """Return the median, and the quantiles of the slowest in 20 and in 100."""
    shares = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    return tuple(quantile(share, name, where=where).named(legend) for share, legend in shares)


class Panel(NamedTuple):
    """A panel: its title, its queries, its unit, and its width (the dashboard has 24)."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 8
    kind: str = "lines"  # or stat, or heatmap
    exemplars: bool = False
    steps: tuple[tuple[float | None, str], ...] = ()  # from which value on it has which color
    text: str = ""  # instead of the meaning of the metrics


_FIRING = f'alertname=~"Crewgate.*",alertstate="firing",{MACHINES}'
_BAD_ABOVE_0 = ((None, "green"), (1.0, "red"))
_PERCENT = ((None, "green"), (0.8, "orange"), (0.95, "red"))
_DAYS = ((None, "red"), (86_400.0, "orange"), (7 * 86_400.0, "green"))
_READY = gauge("crewgate_ready", "instance", join="max")
_SCRAPED = gauge("crewgate_build_info", "instance", join="max")
_EXPIRY = gauge("crewgate_certificate_expiry_timestamp_seconds", "instance", "listener", join="min")
_UPDATED = gauge(
    "crewgate_process_last_update_timestamp_seconds", "instance", "process", join="min"
)
_STALENESS_MAX = "crewgate_cluster_max_staleness_seconds"
_SPENT, _RESERVED = "crewgate_spent_credits_total", "crewgate_reserved_credits_total"
_BURNED, _OVERRUN = "crewgate_burned_credits_total", "crewgate_overrun_credits_total"
_REQUESTS, _DURATION = "crewgate_requests_total", "crewgate_request_duration_seconds"
_VERDICT = "crewgate_verdict_duration_seconds"


def query_of_room(used: str, room: str, label: str) -> Query:
    """Return which share of some room is in use."""
    return gauge(used, "instance", label).per(gauge(room, "instance", label))


# fmt: off
ROWS: dict[str, tuple[Panel, ...]] = {
    "Health": (
        Panel("Ready", (Query(f"{_READY.expression} or 0 * {_SCRAPED.expression}", _READY.legend),),
              kind="stat", steps=((None, "red"), (1.0, "green")), width=6),
        Panel("Components that are not well", (gauge("crewgate_health_conditions", "state"),),
              kind="stat", steps=_BAD_ABOVE_0, width=6),
        Panel("Alerts", (gauge("ALERTS", "alertname", "instance", where=_FIRING),),
              kind="stat", steps=_BAD_ABOVE_0, width=6,
              text="The alerts of deploy/prometheus/crewgate.rules.yml that fire."),
        Panel("Version", (gauge("crewgate_build_info", "version"),), kind="stat", width=6),
        Panel("Time until a certificate ends",
              (Query(f"{_EXPIRY.expression} - time()", _EXPIRY.legend),),
              unit="s", kind="stat", steps=_DAYS, width=12),
        Panel("Time since a process last noted its metrics",
              (Query(f"time() - {_UPDATED.expression}", _UPDATED.legend),), unit="s", width=12),
    ),
    "Calls": (
        Panel("Requests by outcome", (rate(_REQUESTS, "outcome", where=CALLS),), "reqps"),
        Panel("Requests by tool", (rate(_REQUESTS, "tool", where=CALLS),), "reqps"),
        Panel("Refused requests by reason",
              (rate(_REQUESTS, "reason", where=f'{CALLS},reason!=""'),), "reqps"),
        Panel("Responses by status of the tool",
              (rate(_REQUESTS, "tool", "status", where=f'{CALLS},status!=""'),), "reqps"),
        Panel("Calls in flight", (gauge("crewgate_calls_in_flight", "instance"),)),
        Panel("Straight calls", (rate("crewgate_straight_calls_total", "listener", "end"),),
              "reqps"),
        Panel("Refused without a good token, or without a record",
              (rate("crewgate_unauthenticated_requests_total", "listener", "reason"),
               rate("crewgate_unrecorded_refusals_total", "listener", "reason")
               .named("no record:")), "reqps"),
        Panel("Refused by a limit on calls",
              (rate("crewgate_call_limit_refusals_total", "limit"),), "reqps"),
        Panel("Steps of rules on branches",
              (rate("crewgate_rule_steps_total", "rule", "step", "mode"),), "ops"),
    ),
    "Latency": (
        Panel("Whole request", quantiles(_DURATION, TOOLS), "s", exemplars=True),
        Panel("Whole request, all times", (rate(f"{_DURATION}_bucket", "le", where=TOOLS),), "s",
              kind="heatmap", exemplars=True),
        Panel("Tool until its response begins, p99",
              (quantile(0.99, "crewgate_upstream_response_seconds", "tool", where=TOOLS),), "s"),
        Panel("Verdict of the gateway", quantiles(_VERDICT), "s", width=12),
        Panel("Verdict by listener, p99", (quantile(0.99, _VERDICT, "listener"),), "s", width=12),
    ),
    "Credits": (
        Panel("Spent in an hour, by crew", (rate(_SPENT, "crew", where=CALLS).hourly(),)),
        Panel("Spent in an hour, by tool", (rate(_SPENT, "tool", where=CALLS).hourly(),)),
        Panel("Spent of what calls had reserved",
              (rate(_SPENT, "tool", where=CALLS).per(rate(_RESERVED, "tool", where=CALLS)),),
              "percentunit"),
        Panel("Burned and overrun in an hour",
              (rate(_BURNED, "crew", "tool", where=CALLS).hourly().named("burned"),
               rate(_OVERRUN, "crew", "tool", where=CALLS).hourly().named("overrun")), width=12),
        Panel("Burned reservations", (rate("crewgate_reservations_burned_total", "cause"),),
              "ops", width=12),
    ),
    "Revocation": (
        Panel("From a revocation to the last cut", quantiles("crewgate_revoke_to_cut_seconds"),
              "s", steps=((None, "green"), (0.2, "red"))),
        Panel("Revocations", (rate("crewgate_revocations_total", "kind", "origin"),
                              rate("crewgate_revocations_unconfirmed_total").named("unconfirmed")),
              "ops"),
        Panel("Calls and connections that were cut",
              (rate("crewgate_revocation_cuts_total", "instance"),), "ops"),
        Panel("Minting watch",
              (rate("crewgate_minting_watch_steps_total", "crew", "step", where=CREWS),), "ops"),
        Panel("Changes of MCP tools",
              (rate("crewgate_mcp_pin_events_total", "endpoint", "event"),), "ops"),
        Panel("Tasks and sessions at servers", (gauge("crewgate_upstream_work", "instance"),)),
        Panel("Their cancellations",
              (rate("crewgate_upstream_cancellations_total", "endpoint", "result"),), "ops"),
    ),
    "Cluster": (
        Panel("Members that each machine sees",
              (gauge("crewgate_cluster_members", "instance", "state"),)),
        Panel("Staleness and its limit",
              (gauge("crewgate_cluster_staleness_seconds", "instance", join="max"),
               Query(f"min({_STALENESS_MAX}{{{MACHINES}}})", "limit")), "s"),
        Panel("Datagrams",
              (rate("crewgate_cluster_datagrams_total", "direction"),
               rate("crewgate_cluster_datagrams_refused_total", "reason").named("refused:")),
              "pps"),
        Panel("Capsules", (gauge("crewgate_cluster_capsules", "instance"),), width=24),
    ),
    "Ledger": (
        Panel("Transactions", quantiles("crewgate_ledger_transaction_duration_seconds"), "s"),
        Panel("Operations that wait",
              (gauge("crewgate_ledger_queue_operations", "instance"),
               gauge("crewgate_ledger_unavailable", "instance").named("unavailable:"))),
        Panel("Overdraft", (gauge("crewgate_overdraft_credits", "instance"),)),
        Panel("Draws", (rate("crewgate_lease_draws_total", "result"),), "ops", width=12),
        Panel("Returns and recalls",
              (rate("crewgate_lease_returns_total", "instance").named("returns"),
               rate("crewgate_lease_recalls_total", "instance").named("recalls")),
              "ops", width=12),
    ),
    "Connections and limits": (
        Panel("Open connections", (gauge("crewgate_connections", "instance", "listener"),)),
        Panel("New connections and handshakes",
              (rate("crewgate_connections_accepted_total", "listener"),
               rate("crewgate_tls_handshakes_total", "listener", "result").named("handshake:")),
              "ops"),
        Panel("Connections that a limit refused or ended",
              (rate("crewgate_connections_refused_total", "listener", "limit").named("refused:"),
               rate("crewgate_connections_closed_total", "listener", "limit").named("closed:")),
              "ops"),
        Panel("Requests that broke a limit",
              (rate("crewgate_requests_limited_total", "listener", "limit"),), "reqps"),
        Panel("Bad tokens", (rate("crewgate_bad_tokens_total", "listener", "effect"),), "reqps"),
        Panel("Upstreams that cannot be called",
              (gauge("crewgate_upstream_unavailable", "instance", "upstream"),)),
        Panel("Room in the table that is in use",
              (query_of_room("crewgate_table_records", "crewgate_table_capacity_records", "kind"),),
              "percentunit", width=12, steps=_PERCENT),
        Panel("Descriptors in use",
              (query_of_room("crewgate_process_open_fds", "crewgate_process_max_fds", "process"),),
              "percentunit", width=12, steps=_PERCENT),
    ),
    "Processes": (
        Panel("CPU time", (rate("crewgate_process_cpu_seconds_total", "instance", "process"),),
              "percentunit"),
        Panel("Memory", (gauge("crewgate_process_resident_memory_bytes", "instance", "process"),),
              "bytes"),
        Panel("Event loop is late by",
              (gauge("crewgate_process_loop_lag_seconds", "instance", "process", join="max"),),
              "s"),
        Panel("Restarts in an hour",
              (in_last_hour("crewgate_process_restarts_total", "instance", "process"),)),
        Panel("Audit lines",
              (rate("crewgate_audit_lines_total", "instance"),
               rate("crewgate_audit_lines_lost_total", "instance").named("lost:")), "ops"),
        Panel("Disk of the audit is late by",
              (gauge("crewgate_audit_lag_seconds", "instance", "process", join="max"),), "s"),
        Panel("Export: records that receivers took or refused",
              (rate("crewgate_export_records_total", "channel").named("took:"),
               rate("crewgate_export_records_refused_total", "channel").named("refused:")), "ops"),
        Panel("Export: audit that receivers lack",
              (gauge("crewgate_export_backlog_bytes", "instance", "channel"),), "bytes"),
        Panel("Export: audit that was deleted before receivers had it",
              (rate("crewgate_export_lost_bytes_total", "instance", "channel"),), "Bps"),
        Panel("Alerts that receivers took, in an hour",
              (in_last_hour("crewgate_alerts_delivered_total", "receiver"),)),
        Panel("Alerts that were given up, in an hour",
              (in_last_hour("crewgate_alerts_given_up_total", "instance", "receiver"),)),
        Panel("Alerts that receivers lack",
              (gauge("crewgate_alerts_waiting", "instance", "receiver"),)),
        Panel("Series without room of their own, in an hour",
              (in_last_hour("crewgate_metrics_series_dropped_total", "instance"),), width=24),
    ),
}
# fmt: on


def meaning(panel: Panel) -> str:
    """Return the help texts of the metrics that a panel shows."""
    named = {name for query in panel.queries for name in _METRIC.findall(query.expression)}
    shown = (each for each in FAMILIES if {each.name, f"{each.name}_bucket"} & named)
    return "\n\n".join(f"`{each.name}`: {each.help}" for each in shown)


def queries(panel: Panel) -> list[prometheus.Dataquery]:
    """Return the queries of a panel."""
    found = []
    for ref, (expression, legend) in zip("ABCDEF", panel.queries, strict=False):
        query = prometheus.Dataquery().ref_id(ref).expr(expression).legend_format(legend)
        query = query.datasource(_SOURCE).exemplar(panel.exemplars)
        if panel.kind == "heatmap":
            query = query.format(PromQueryFormat.HEATMAP)
        found.append(query.instant() if panel.kind == "stat" else query.range())
    return found


def thresholds(panel: Panel) -> builders.ThresholdsConfig:
    """Return the colors of a panel's values."""
    found = panel.steps or ((None, "green"),)
    made = [dashboard.Threshold(value=value, color=color) for value, color in found]
    return builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(made)


def lines(panel: Panel) -> timeseries.Panel:
    """Return a panel of lines over time."""
    made = timeseries.Panel().min(0).thresholds(thresholds(panel)).fill_opacity(10)
    made = made.show_points(common.VisibilityMode.NEVER).span_nulls(False)
    made = made.legend(
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    if panel.steps:
        style = common_builders.GraphThresholdsStyleConfig().mode(
            common.GraphThresholdsStyleMode.DASHED
        )
        made = made.thresholds_style(style)
    tooltip = common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    return made.tooltip(tooltip.sort(common.SortOrder.DESCENDING))


def values(panel: Panel) -> stat.Panel:
    """Return a panel of present values."""
    reduced = common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    made = stat.Panel().thresholds(thresholds(panel)).reduce_options(reduced).no_value("none")
    return made.text_mode(common.BigValueTextMode.VALUE_AND_NAME)


def heat(_: Panel) -> heatmap.Panel:
    """Return a panel of all values over time."""
    color = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    return heatmap.Panel().calculate(False).color(color).y_axis(heatmap.YAxisConfig().unit("s"))


_KINDS: dict[str, Callable[[Panel], timeseries.Panel | stat.Panel | heatmap.Panel]]
_KINDS = {"lines": lines, "stat": values, "heatmap": heat}


def variables() -> list[builders.DatasourceVariable | builders.QueryVariable]:
    """Return the choices at the top: the source of the data, and what the panels are about."""
    source = builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
    found: list[builders.DatasourceVariable | builders.QueryVariable] = [source]
    for name, query in (
        ("instance", "label_values(crewgate_build_info, instance)"),
        ("crew", f"label_values(crewgate_requests_total{{{MACHINES}}}, crew)"),
        ("tool", f"label_values(crewgate_requests_total{{{MACHINES}}}, tool)"),
    ):
        everything = dashboard.VariableOption(selected=True, text=["All"], value=["$__all"])
        variable = builders.QueryVariable(name).label(name.capitalize()).query(query)
        variable = variable.datasource(_SOURCE).multi(True).include_all(True).all_value(".*")
        variable = variable.current(everything).sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        found.append(variable.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED))
    return found


def build() -> str:
    """Return the dashboard as the text of a JSON file."""
    made = builders.Dashboard("Crewgate").uid("crewgate").tags(["crewgate"])
    made = made.description("Gateways for the tool traffic of crews of AI agents.")
    made = made.tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
    made = made.time("now-3h", "now").refresh("30s").timezone("browser")
    for variable in variables():
        made = made.with_variable(variable)
    for title, panels in ROWS.items():
        made = made.with_row(builders.Row(title))
        for panel in panels:
            shown = (
                _KINDS[panel.kind](panel)
                .title(panel.title)
                .description(panel.text or meaning(panel))
            )
            shown = shown.unit(panel.unit).datasource(_SOURCE)
            for query in queries(panel):
                shown = shown.with_target(query)
            made = made.with_panel(shown.span(panel.width).height(_HEIGHT))
    built = made.build()
    for number, each in enumerate(built.panels or [], 1):
        each.id_val = number
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(build(), encoding="utf-8")
