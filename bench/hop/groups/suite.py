"""All groups, in the order in which they are measured."""

from bench.hop.groups import bodies, branches, http1, rates, refusals, share, streams, upstreams

MODULES = (streams, http1, upstreams, share, bodies, refusals, rates, branches)
GROUPS = {module.GROUP.name: module.GROUP for module in MODULES}
