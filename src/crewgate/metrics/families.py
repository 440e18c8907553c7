"""The declarations of all metrics: each name, with its type, labels, unit and meaning.

Names follow Prometheus' conventions (https://prometheus.io/docs/practices/naming/). No label has a
branch, a token or anything else that a client chooses: each value comes from the configuration or
from a list in the code, so the number of series is bounded.
"""

from typing import Literal

from crewgate.metrics.metric_family import MetricFamily

_MICRO, _NANO = 6, 9
_ALL: list[MetricFamily] = []
_subject = ""


def _listed(family: MetricFamily) -> MetricFamily:
    _ALL.append(family)
    return family


def _counter(name: str, meaning: str, *labels: str, scale: int = 0) -> MetricFamily:
    return _listed(
        MetricFamily(
            name=name, kind="counter", help=meaning, subject=_subject, labels=labels, scale=scale
        )
    )


def _gauge(
    name: str,
    meaning: str,
    *labels: str,
    scale: int = 0,
    merge: Literal["sum", "max"] = "max",
) -> MetricFamily:
    return _listed(
        MetricFamily(
            name=name,
            kind="gauge",
            help=meaning,
            subject=_subject,
            labels=labels,
            scale=scale,
            merge=merge,
        )
    )


def _seconds(
    name: str, meaning: str, *labels: str, bounds_ms: tuple[float, ...], exemplars: bool = False
) -> MetricFamily:
    return _listed(
        MetricFamily(
            name=name,
            kind="histogram",
            help=meaning,
            subject=_subject,
            labels=labels,
            scale=_NANO,
            bounds=tuple(round(each * 1e6) for each in bounds_ms),
            exemplars=exemplars,
        )
    )


# The bounds of OpenTelemetry's http.server.request.duration (semantic conventions, HTTP metrics).
_HTTP_MS = (5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000)
_FAST_MS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 5000)

_subject = "Calls"
REQUESTS = _counter(
    "crewgate_requests_total",
    "Requests with a good token, counted when they end. `outcome` and `reason` are those of the"
    " audit: `reason` says why the gateway refused. `status` is the tool's; empty without one.",
    *("listener", "tool", "crew", "outcome", "reason", "status"),
)
REQUEST_DURATION = _seconds(
    "crewgate_request_duration_seconds",
    "Time from the head of a permitted request to the end of its response.",
    *("listener", "tool"),
    bounds_ms=_HTTP_MS,
    exemplars=True,
)
UPSTREAM_DURATION = _seconds(
    "crewgate_upstream_response_seconds",
    "Time from sending a request to the tool until the head of the tool's response.",
    "tool",
    bounds_ms=_HTTP_MS,
)
VERDICT_DURATION = _seconds(
    "crewgate_verdict_duration_seconds",
    "Time from the head of a request to its verdict, with the waits for the body and for credit.",
    "listener",
    bounds_ms=_FAST_MS,
)
CALL_LIMIT_REFUSALS = _counter(
    "crewgate_call_limit_refusals_total",
    "Requests that a limit on calls refused, by the name of the [limit.NAME].",
    "limit",
)
RULE_STEPS = _counter(
    "crewgate_rule_steps_total",
    "Steps of rules on branches that the audit has: `warn`, `refuse` or `end`. A branch has one for"
    " each rule and step, until it makes progress. In mode `observe`, the gateway only warns.",
    *("rule", "step", "mode"),
)
UNAUTHENTICATED = _counter(
    "crewgate_unauthenticated_requests_total",
    "Requests that the gateway refused before it saw a good signature, and connections that it"
    " refused because of their certificate.",
    *("listener", "reason"),
)
UNRECORDED = _counter(
    "crewgate_unrecorded_refusals_total",
    "Requests that the gateway refused without a record in the audit, because it had no room, could"
    " not write the audit, or does not serve the host.",
    *("listener", "reason"),
)
STRAIGHT_CALLS = _counter(
    "crewgate_straight_calls_total",
    "Calls that compiled code began to carry; `end` is `ordinary` if Python went on with the call.",
    *("listener", "end"),
)
CALLS_IN_FLIGHT = _gauge(
    "crewgate_calls_in_flight", "Calls that the gateway is forwarding.", merge="sum"
)

_subject = "Credits"
CREDITS_RESERVED = _counter(
    "crewgate_reserved_credits_total",
    "Credits that calls had reserved, counted when the calls end.",
    *("crew", "tool"),
    scale=_MICRO,
)
CREDITS_SPENT = _counter(
    "crewgate_spent_credits_total",
    "Credits that calls have cost, as in the audit.",
    *("crew", "tool"),
    scale=_MICRO,
)
CREDITS_BURNED = _counter(
    "crewgate_burned_credits_total",
    "Reserved credits that the agent charged because a process died or a deadline passed.",
    *("crew", "tool"),
    scale=_MICRO,
)
CREDITS_OVERRUN = _counter(
    "crewgate_overrun_credits_total",
    "Credits that responses stated beyond what their calls had reserved. The gateway charges no"
    " account for them.",
    *("crew", "tool"),
    scale=_MICRO,
)

_subject = "Connections"
CONNECTIONS = _gauge(
    "crewgate_connections", "Open connections of clients.", "listener", merge="sum"
)
CONNECTIONS_ACCEPTED = _counter(
    "crewgate_connections_accepted_total", "Connections that clients have opened.", "listener"
)
CONNECTIONS_REFUSED = _counter(
    "crewgate_connections_refused_total",
    "Connections that a limit refused before their handshake.",
    *("listener", "limit"),
)
CONNECTIONS_CLOSED = _counter(
    "crewgate_connections_closed_total",
    "Connections that the gateway closed, by the limit or rule that they broke.",
    *("listener", "limit"),
)
HANDSHAKES = _counter(
    "crewgate_tls_handshakes_total",
    "TLS handshakes, by result.",
    *("listener", "result"),
)
REQUESTS_LIMITED = _counter(
    "crewgate_requests_limited_total",
    "Requests that the gateway refused or ended because of their form, size or speed.",
    *("listener", "limit"),
)
BAD_TOKENS = _counter(
    "crewgate_bad_tokens_total",
    "Requests whose token is not good, and the pauses and closed connections that followed.",
    *("listener", "effect"),
)
UPSTREAM_UNAVAILABLE = _gauge(
    "crewgate_upstream_unavailable",
    "1 if some worker can call no server of the upstream, else 0.",
    "upstream",
)

_subject = "Ledger and leases"
LEASE_DRAWS = _counter(
    "crewgate_lease_draws_total",
    "Draws of credit from the ledger, by result. After `recalled-from-others`, another"
    " machine is asked for credit, and the draw is tried again.",
    "result",
)
LEASE_RETURNS = _counter(
    "crewgate_lease_returns_total", "Operations that returned unused credit to the ledger."
)
LEASE_RECALLS = _counter(
    "crewgate_lease_recalls_total",
    "Requests of other machines that this machine return unused credit to the ledger.",
)
LEDGER_TRANSACTIONS = _seconds(
    "crewgate_ledger_transaction_duration_seconds",
    "Time that the ledger took for a transaction, with waiting for its server or disk.",
    bounds_ms=_FAST_MS,
)
LEDGER_QUEUE = _gauge(
    "crewgate_ledger_queue_operations",
    "Operations that wait for the ledger.",
)
LEDGER_UNAVAILABLE = _gauge("crewgate_ledger_unavailable", "1 while the ledger does not answer.")
OVERDRAFT = _gauge(
    "crewgate_overdraft_credits",
    "Credits that this machine granted while the ledger did not answer, and that it still owes.",
    scale=_MICRO,
)
RESERVATIONS_BURNED = _counter(
    "crewgate_reservations_burned_total", "Reservations that the agent burned, by cause.", "cause"
)

_subject = "Revocation"
REVOCATIONS = _counter(
    "crewgate_revocations_total",
    "Revocations that took effect here, by the kind of their target. `origin` is local, or remote"
    " if another machine sent them. In a burst of remote ones, most have the kind `other`.",
    *("kind", "origin"),
)
REVOCATIONS_UNCONFIRMED = _counter(
    "crewgate_revocations_unconfirmed_total",
    "Local requests to revoke that some process of this machine did not answer in time.",
)
REVOKE_TO_CUT = _seconds(
    "crewgate_revoke_to_cut_seconds",
    "Time from a local request to revoke until its last call was cut on this machine; 0 if it had"
    " no call to cut. A request that is not confirmed is not counted here.",
    bounds_ms=(1, 2.5, 5, 10, 25, 50, 75, 100, 150, 200, 500, 1000, 5000),
)
CALLS_CUT = _counter(
    "crewgate_revocation_cuts_total",
    "Calls and connections that local requests to revoke have cut on this machine.",
)
UPSTREAM_CANCELLATIONS = _counter(
    "crewgate_upstream_cancellations_total",
    "Tasks and sessions of revoked or exhausted branches that the gateway has cancelled at the"
    " server of an endpoint. `result` is cancelled (or ended before), refused by the server, or"
    " failed without an answer.",
    *("endpoint", "result"),
)
UPSTREAM_WORK = _gauge(
    "crewgate_upstream_work",
    "Running tasks and sessions that the workers would cancel at their servers, and messages to"
    " agents that have not shown their tasks.",
    merge="sum",
)
WATCH_STEPS = _counter(
    "crewgate_minting_watch_steps_total",
    "Strikes and changes of level of the minting watch, by cause.",
    *("crew", "step"),
)

_subject = "MCP tools"
PIN_EVENTS = _counter(
    "crewgate_mcp_pin_events_total",
    "Tools of MCP servers that this machine pinned, that a server added, changed or removed, and"
    " that a person approved.",
    *("endpoint", "event"),
)

_subject = "Cluster"
MEMBERS = _gauge(
    "crewgate_cluster_members", "Members of the cluster that this machine knows.", "state"
)
CAPSULES = _gauge(
    "crewgate_cluster_capsules", "Signed groups of revocations that this machine keeps."
)
DATAGRAMS = _counter("crewgate_cluster_datagrams_total", "Datagrams between machines.", "direction")
DATAGRAMS_REFUSED = _counter(
    "crewgate_cluster_datagrams_refused_total", "Datagrams that were not accepted.", "reason"
)
STALENESS = _gauge(
    "crewgate_cluster_staleness_seconds",
    "Time since this machine last had all that a majority of the members knows; 0 if it needs no"
    " other member.",
    scale=_NANO,
)
STALENESS_MAX = _gauge(
    "crewgate_cluster_max_staleness_seconds",
    "The configured `max_staleness_seconds`: beyond it, the gateway refuses calls.",
    scale=_NANO,
)

_subject = "Shared table"
TABLE_RECORDS = _gauge(
    "crewgate_table_records",
    "Records in use in the shared table. Each branch has a lease; attachments are processes.",
    "kind",
)
TABLE_CAPACITY = _gauge(
    "crewgate_table_capacity_records", "Records that the shared table has room for.", "kind"
)

_subject = "Service"
READY = _gauge(
    "crewgate_ready",
    "1 if this machine serves calls, else 0. Absent while the agent process does not run.",
)
CONDITIONS = _gauge(
    "crewgate_health_conditions",
    "Components that are not well, by state. `crewgate status` names them.",
    "state",
)
BUILD = _gauge("crewgate_build_info", "Always 1; the label has the version.", "version")
AUDIT_LINES = _counter(
    "crewgate_audit_lines_total", "Lines of the audit that the kernel took.", "process"
)
AUDIT_LOST = _counter(
    "crewgate_audit_lines_lost_total",
    "Lines that the kernel did not take, or that the disk lost later.",
    "process",
)
AUDIT_LAG = _gauge(
    "crewgate_audit_lag_seconds",
    "How long the disk has been busy with an operation of the audit.",
    "process",
    scale=_NANO,
)
CERTIFICATE_EXPIRY = _gauge(
    "crewgate_certificate_expiry_timestamp_seconds",
    "When the certificate of a listener expires, in seconds since 1970.",
    "listener",
)
EXPORTED = _counter(
    "crewgate_export_records_total", "Records that a receiver of [export] took.", "channel"
)
EXPORT_REFUSED = _counter(
    "crewgate_export_records_refused_total",
    "Records that a receiver of [export] refused; it does not have them.",
    "channel",
)
EXPORT_LOST = _counter(
    "crewgate_export_lost_bytes_total",
    "Bytes, at least, of audit files that were deleted before a receiver had them.",
    "channel",
)
EXPORT_BACKLOG = _gauge(
    "crewgate_export_backlog_bytes", "Bytes of the audit that a receiver lacks.", "channel"
)
ALERTS_DELIVERED = _counter(
    "crewgate_alerts_delivered_total", "Alerts that a receiver of [alert] has taken.", "receiver"
)
ALERTS_GIVEN_UP = _counter(
    "crewgate_alerts_given_up_total",
    "Alerts that a receiver of [alert] refused again and again, or that waited for it too long.",
    "receiver",
)
ALERTS_WAITING = _gauge(
    "crewgate_alerts_waiting", "Alerts that a receiver of [alert] lacks.", "receiver"
)
RESTARTS = _counter(
    "crewgate_process_restarts_total",
    "Starts of a process that had ended without being asked to.",
    "process",
)
MEMORY = _gauge("crewgate_process_resident_memory_bytes", "Resident memory.", "process")
CPU = _counter(
    "crewgate_process_cpu_seconds_total", "User and system CPU time.", "process", scale=_NANO
)
OPEN_FILES = _gauge("crewgate_process_open_fds", "Open file descriptors.", "process")
MAX_FILES = _gauge(
    "crewgate_process_max_fds", "File descriptors that the process may open.", "process"
)
LAST_UPDATE = _gauge(
    "crewgate_process_last_update_timestamp_seconds",
    "When the event loop of the process last noted its metrics, as it does once a second, in"
    " seconds since 1970.",
    "process",
    scale=_NANO,
)
LOOP_LAG = _gauge(
    "crewgate_process_loop_lag_seconds",
    "How late the event loop ran a timer of one second: the longest in the last 15 seconds.",
    "process",
    scale=_NANO,
)
SERIES_DROPPED = _counter(
    "crewgate_metrics_series_dropped_total",
    "Series that had no room, so that the process counts them under labels with the value `other`.",
)

FAMILIES = tuple(_ALL)
