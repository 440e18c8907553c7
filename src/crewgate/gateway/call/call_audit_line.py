"""Records a call that has ended: its audit line, its metrics and its settlement go together."""

from typing import TYPE_CHECKING

from crewgate._native.audit_line import AuditLineTemplate
from crewgate._native.metrics import CallSeries
from crewgate.core.audit import record_builder
from crewgate.core.audit.digest_texts import call_text, digest_text
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

    The agent has recorded the cost of a permit that it has burned. The line and its settlement come
    first, since no error of a count may prevent them.
    """
    permit, settlements = call.permit, services.settlements
    recorded = cost if permit.has_reservation or not permit.price_micro else 0
    if metering is None:
        template = services.audit_lines.line(call.info, permit.grant)
        line = fixed_price_line(template, call, outcome, recorded)
        settlements.add(line, permit, cost)
        count_fixed_price(services, template, call, outcome, len(line), recorded)
    else:
        line = metered_line(call, metering, outcome, recorded)
        settlements.add(line, permit, cost)
        settlements.calls.add(
            _series(services, call, outcome),
            len(line),
            call.ended_ns - call.info.arrived_ns,
            call.response.answered_ns - call.sent_ns if call.response.answered_ns else UNKNOWN,
            call.started_ns - call.info.arrived_ns,
            permit.price_micro,
            recorded,
            metering.overrun,
        )
    if call.info.trace:
        add_exemplar(settlements.calls, call.info.trace)


def fixed_price_line(
    template: AuditLineTemplate, call: "ProxiedCall", outcome: CallOutcome, cost: int
) -> bytes:
    """Return the record of a call whose price was fixed; `cost` is in micro-credits."""
    permit, info = call.permit, call.info
    return template.end(
        info.time_ns,
        info.id,
        outcome,
        cost,
        permit.lease_remaining_micro,
        call.lasted_us,
        call.status,
        call.exchange.bytes_in,
        call.response.body.bytes_out,
        permit.observed_reason,
        info.certificate,
        info.trace,
        permit.call_digest,
        permit.answer_digest,
        call.response.retry_seconds,
        call.response.is_failed,
    )


def count_fixed_price(
    services: CallServices,
    template: AuditLineTemplate,
    call: "ProxiedCall",
    outcome: CallOutcome,
    line_bytes: int,
    cost: int,
) -> None:
    """Count a call whose price was fixed; `cost` is the one in its line."""
    status, batch = call.status, services.settlements.calls
    while not template.count(
        batch,
        outcome,
        status,
        line_bytes,
        call.info.arrived_ns,
        call.started_ns,
        call.sent_ns,
        call.response.answered_ns,
        call.ended_ns,
        call.permit.price_micro,
        cost,
    ):
        template.remember(_series(services, call, outcome), outcome, status)


def _series(services: CallServices, call: "ProxiedCall", outcome: CallOutcome) -> CallSeries:
    crew = call.permit.grant.caller
    return services.call_metrics.series_of(call.info, crew, outcome, "", call.status)


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
        call.response.body.bytes_out,
        call.lasted_us,
        overrun_micro=metering.overrun,
        model="" if meter.request is None else meter.request.name,
        tokens_in=counts.fresh + counts.cached + counts.stored,
        tokens_out=counts.answered,
        call_digest=call_text(permit.call_digest),
        answer_digest=digest_text(permit.answer_digest),
        retry_seconds=call.response.retry_seconds,
        failed=call.response.is_failed,
    )
    record = record_builder.permitted(
        call.info,
        permit.grant,
        end,
        remaining_micro=permit.lease_remaining_micro,
        would=permit.observed_reason,
    )
    return encode(record)
