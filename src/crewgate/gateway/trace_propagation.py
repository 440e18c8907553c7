"""Finds the trace that a call belongs to, and makes the gateway's span in it."""

import os
import random
from collections.abc import Sequence

from crewgate._native.fields import values
from crewgate.core import trace_context
from crewgate.core.http_types import HeaderField
from crewgate.core.trace_context import TRACEPARENT, TRACESTATE, TraceContext


def trace_of(headers: Sequence[HeaderField], sample: float) -> TraceContext | None:
    """Return the context of a call with these fields; None if it belongs to no trace.

    `sample` is the share of calls without a valid `traceparent` that start a trace of their own.
    """
    parents = values(headers, TRACEPARENT)
    if parents:
        found = trace_context.continued(parents, values(headers, TRACESTATE), os.urandom(8))
        if found is not None:
            return found
    if sample and random.random() < sample:  # noqa: S311 - the choice protects nothing
        return TraceContext.root(os.urandom(24))
    return None
