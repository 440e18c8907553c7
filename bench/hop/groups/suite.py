"""All groups, in the order in which they are measured."""

from bench.hop.groups import http1, streams

GROUPS = {module.GROUP.name: module.GROUP for module in (streams, http1)}
