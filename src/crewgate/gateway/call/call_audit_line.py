"""The audit record of a call that has ended, encoded as one line."""

from typing import TYPE_CHECKING

from crewgate._native.audit_line import AuditLines
from crewgate.core.audit import record_builder
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import CallEnd, CallOutcome
from crewgate.core.pricing.token_usage import TokenUsage

if TYPE_CHECKING:
    from crewgate.gateway.call.proxied_call import ProxiedCall
    from crewgate.gateway.call.response_metering import ResponseMetering


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
