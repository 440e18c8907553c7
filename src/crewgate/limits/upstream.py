"""Limits of the connections to tools' servers (upstream/)."""

upstream_connections_default = 256  # of one upstream and worker, busy and idle ones together
upstream_connections_max = 4096  # one for each call: with calls of 1 s, a worker cannot carry more
open_streams_divisor = 2  # free streams get half of the connections; the others stay for calls
open_streams_crew_share = 2  # the divisor: a crew gets at most half of these, so others get some
open_streams_branch_share = 8  # the same for a branch: 16 streams with 256 connections
upstream_retry_share = 0.2  # of the calls; the default retry budget of Finagle and Envoy
upstream_keep_seconds = 55.0  # without use; load balancers close after 60 (AWS), nginx after 75
upstream_keep_seconds_max = 3600.0  # Envoy's default; NATs forget a connection earlier
upstream_safe_rest_seconds = 4.0  # without use; servers of the field close after 5 (uvicorn, Node)
upstream_keep_margin_seconds = 1.0  # before a server may close, as its Keep-Alive says
straight_answer_bytes_max = 65_536  # of a body; one read usually brings it
straight_answer_chunks_max = 64  # DATA frames of an answer of HTTP/2 that wait until it is whole
# A connection rests for so long after an answer that ended with its head. If the server wrongly
# sends a body, the body comes within this time, which is a round trip across an ocean. 100 such
# calls a second keep 10 connections at rest.
upstream_rest_seconds = 0.1
upstream_connect_seconds_max = 10.0  # name, TCP and TLS together; also the wait for a free one
upstream_first_byte_seconds_max = 300.0  # a model that thinks before it answers
upstream_idle_seconds_max = 300.0  # between two bytes of an answer, or of a request
upstream_head_bytes_max = 65_536  # of an answer; twice what we take from a client
upstream_streams_max = 128  # of one HTTP/2 connection, if its server allows as many
# Malformed answers of one HTTP/2 connection, before its calls move to another connection. ngh2 0.3
# never opens the connection's window again by the bytes of a malformed frame, at most 16 KiB each.
# A server that counts resets (CVE-2023-44487) gives up a connection at 1,000.
upstream_malformed_max = 100
# From the first to the last byte of an HTTP/2 frame or header block: all other streams wait for it.
# A frame of 16 KiB takes this long at 3 KiB/s.
upstream_frame_seconds_max = 5.0
upstream_window_bytes = 262_144  # of one stream; 5 MB/s with a round trip of 50 ms
probe_look_seconds = 0.25  # between checks whether a server needs a probe
upstream_retries_max = 2  # of one call: after an old connection, and after one bad server
upstream_informational_max = 16  # 103s of one answer that are passed on; more than one is rare
upstream_fields_max = 200  # twice what we take from a client, as for the bytes
upstream_servers_max = 256  # servers of one upstream, by address; a choice checks each, at 0.1 µs
breaker_failures = 5  # in a row, as Envoy's outlier detection; a restart may cause one or two
breaker_doubt_seconds = 1.0  # other servers go first after one failure; most restarts take longer
breaker_seconds_min = 0.5  # the first backoff; a process that restarts at once is back by then
breaker_seconds_max = 30.0  # as Envoy's base ejection; a recovered server waits no longer
retry_window_seconds = 10  # as Finagle's: what earlier calls earned is forgotten
retry_floor_per_second = 3  # a quiet upstream may retry too; Envoy's floor is 3 at once
resolve_seconds = 10.0  # between two questions for a name: how old its addresses may become
resolve_again_seconds = 1.0  # the soonest, for a call that waits: a failed answer is quick
resolve_seconds_max = 5.0  # one attempt of the system's resolver; then waiting calls get an error
resolve_threads_max = 16  # of a worker; each name with unresponsive servers holds one
addresses_max = 64  # of one name; a DNS answer over UDP (1,232 bytes) has room for 40
