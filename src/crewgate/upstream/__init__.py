"""Calls the servers of tools over HTTP/1.1 and HTTP/2, with the `Permit` of each call.

One `UpstreamPool` for each upstream and worker: it chooses a server (`balancer`,
`circuit_breaker`), opens and keeps connections (`connector`, `host_pool`), queues calls that wait
for one (`fair_wait_queue`), and retries what is safe to retry. `resolver` and `health_check` run in
the background. `_datapath` has the parts that each call needs: the choice of the host, the counts
of the pool, the retry budget, and the connections over HTTP/1.1. `buffered_request` sends
the gateway's own requests, which end what a revoked branch has begun. `interfaces` defines how a
call, its connection and the pool talk to each other.

Invariants: a call's `touched` is True as soon as its server may have seen a byte of it, because a
refund depends on that. A call whose server may have acted on it is sent again only if it is
idempotent. An error in one connection or call ends no other.
"""
