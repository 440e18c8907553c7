"""The metrics of this machine in its cluster."""

import math
from collections import Counter

from crewgate.agent.cluster import cluster_status
from crewgate.gossip.node import GossipNode
from crewgate.metrics import families
from crewgate.metrics.process_metrics import ProcessMetrics

_STATES = "here", "alive", "suspect", "dead", "left"


def note(metrics: ProcessMetrics, gossip: GossipNode, max_staleness: float) -> None:
    """Set the gauges and counters of the cluster."""
    states = Counter(row.state for row in cluster_status.rows(gossip))
    for state in _STATES:
        metrics.series(families.MEMBERS, state).set(states[state])
    metrics.series(families.CAPSULES).set(len(gossip.node.archive))
    metrics.series(families.STALENESS_MAX).set(round(max_staleness * 1e9))
    seconds = cluster_status.staleness(gossip)
    if math.isfinite(seconds):
        metrics.series(families.STALENESS).set(round(seconds * 1e9))
    traffic = gossip.traffic
    metrics.series(families.DATAGRAMS, "sent").follow(traffic.sent)
    metrics.series(families.DATAGRAMS, "received").follow(traffic.received)
    for reason, count in traffic.refused.items():
        metrics.series(families.DATAGRAMS_REFUSED, reason).follow(count)
