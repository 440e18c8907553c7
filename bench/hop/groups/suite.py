"""All groups, in the order in which they are measured."""

from bench.hop.groups import (
    bodies,
    branches,
    export,
    fairness,
    floods,
    http1,
    idle,
    mcp,
    mcp_gateways,
    memory,
    rates,
    refusals,
    rest,
    rules,
    share,
    streams,
    upstreams,
)

MODULES = (
    *(streams, http1, upstreams, rest, share, bodies, mcp, refusals, rates, branches),
    *(
        mcp_gateways,
        export,
        rules,
        fairness,
        floods,
        memory,
        idle,
    ),  # the long ones; idle connections leave a heap behind
)
GROUPS = {module.GROUP.name: module.GROUP for module in MODULES}
