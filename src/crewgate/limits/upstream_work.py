"""The bounds of work that goes on at a server without a stream (gateway/upstream_work)."""

upstream_work_max = 8192  # tasks and sessions that a worker remembers; 24 MB with their tokens
upstream_work_each_max = 1024  # of one branch, so that eight are needed to displace others
upstream_work_seconds_max = 86_400.0  # without a ttl: as long as a branch is remembered
cancellations_each_max = 16  # under way to one endpoint: a kill of 1,000 tasks takes 63 rounds
cancellation_seconds = 5.0  # for one attempt; servers only note the intent
cancellation_attempts_max = 3  # of one task or session
cancellation_retry_seconds = 1.0  # before the second attempt; each further pause is twice as long
cancellation_bytes_max = 65_536  # of a response; a task has a few hundred bytes
cancellation_failure_seconds = 600.0  # that health reports a failure: a person has time to look
detached_calls_max = 256  # of a worker: calls that go on although their client has left
detached_calls_share = 4  # a crew gets at most this fraction of them
detached_call_seconds_max = 300.0  # for so long, clients of the MCP SDKs wait for a response
detached_call_bytes_max = 64 * 2**20  # dropped of a response: four messages of the largest size
