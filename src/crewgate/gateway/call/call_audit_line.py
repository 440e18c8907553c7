"""Records a call that has ended: its audit line, its metrics and its settlement go together."""

from typing import TYPE_CHECKING

from crewgate._native.audit_line import AuditLines
from crewgate.core.audit import record_builder
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import CallEnd, CallOutcome
from crewgate.core.pricing.token_usage import TokenUsage
from crewgate.gateway.call.call_metrics import UNKNOWN, add_exemplar
from crewgate.gateway.call.call_services import CallServices

if TYPE_CHECKING:
    from crewgate.gateway.call.proxied_call import ProxiedCall
    from crewgate.gateway.call.response_metering import ResponseMetering


def record_end(
    services: CallServices,
    call: "ProxiedCall",
    metering: "ResponseMetering | None",
    outcome: CallOutcome,
    cost: int,
) -> None:
    """Record, count and settle a call that has ended; `cost` is in micro-credits.

    The agent has recorded the cost of a permit that it has burned.
    """
    permit, overrun = call.permit, 0
    recorded = cost if permit.has_reservation or not permit.price_micro else 0
    if metering is None:
        line = fixed_price_line(services.audit_lines, call, outcome, recorded)
    else:
        line = metered_line(call, metering, outcome, recorded)
        overrun = metering.overrun
    info, settlements = call.info, services.settlements
    settlements.add(line, permit, cost)  # first, since no error of a count may prevent it
    settlements.calls.add(
        services.call_metrics.series_of(info, permit.grant.caller, outcome, "", call.status),
        len(line),
        call.ended_ns - info.arrived_ns,
        call.answered_ns - call.sent_ns if call.answered_ns else UNKNOWN,
        call.started_ns - info.arrived_ns,
        permit.price_micro,
        recorded,
        overrun,
    )
    if info.trace:
        add_exemplar(settlements.calls, info.trace)


def fixed_price_line(
    lines: AuditLines, call: "ProxiedCall", outcome: CallOutcome, cost: int
) -> bytes:
    """Return the record of a call whose price was fixed; `cost` is in micro-credits."""
    permit, info = call.permit, call.info
    return lines.line(info, permit.grant).end(
        info.time_ns,
        info.id,
        outcome,
        cost,
        permit.lease_remaining_micro,
        call.lasted_us,
        call.status,
        call.exchange.bytes_in,
        call.bytes_out,
        permit.observed_reason,
        info.certificate,
        info.trace,
    )


def metered_line(
    call: "ProxiedCall", metering: "ResponseMetering", outcome: CallOutcome, cost: int
) -> bytes:
    """Return the record of a call whose cost was read in its response, with tokens and overrun."""
    permit = call.permit
    meter = metering.meter
    counts = meter.counts or TokenUsage()
    end = CallEnd(
        outcome,
        cost,
        call.status,
        call.exchange.bytes_in,
        call.bytes_out,
        call.lasted_us,
        overrun_micro=metering.overrun,
        model="" if meter.request is None else meter.request.name,
        tokens_in=counts.fresh + counts.cached + counts.stored,
        tokens_out=counts.answered,
    )
    record = record_builder.permitted(
        call.info,
        permit.grant,
        end,
        remaining_micro=permit.lease_remaining_micro,
        would=permit.observed_reason,
    )
    return encode(record)
