"""Every bound of Crewgate, with its unit in its name and its reason beside it.

A configuration may lower a bound.
"""

from crewgate.limits.gossip import *  # noqa: F403 - the same
from crewgate.limits.health import *  # noqa: F403 - the same
from crewgate.limits.ledger import *  # noqa: F403 - the same
from crewgate.limits.pki import *  # noqa: F403 - one name space, six files
from crewgate.limits.prices import *  # noqa: F403 - the same

# Tokens. The shape of design and RFC 9068; sizes keep a hostile token under 200 µs of CPU.
token_bytes_max = 4096  # a header field of 8 KiB is what proxies commonly take; half of it
token_lifetime_seconds_max = 900  # 15 minutes: a leaked token is worth at most that
leeway_seconds = 5  # clocks of machines with NTP differ by far less
json_depth_max = 8  # our claims need 3
json_members_max = 64  # members of one object; our claims have 15
claim_chars_max = 128  # URLs and names; the whole token stays under 4 KiB
allowed_tools_max = 64  # who needs more names wants a pattern; 64 of 40 bytes fit a token
audiences_max = 8  # a token meant for more gateways than that is meant for any
depth_max = 8  # ancestors of a branch; trees of agents seen in the field are 3 deep
time_seconds_max = 2**33  # year 2242; in nanoseconds, leeway included, it stays in 63 bits
quota_micro_max = 2**53 - 1  # the largest integer that every JSON reader keeps exact
jwks_bytes_max = 65_536  # 64 keys of 200 bytes, with room for certificates beside them
jwks_keys_max = 64  # of one crew: one per orchestrator, twice over while keys are rotated
key_file_bytes_max = 16_384  # PKCS 8 of an Ed25519 key is 119 bytes of PEM

# The issuer.
issuer_branches_max = 65_536  # branches an orchestrator remembers at once; 100 MiB of claims
refresh_margin_seconds_max = 300  # a third of a token's life: time for two failed attempts more
token_file_look_seconds_max = 30.0  # until all are looked at again; a wall clock may have moved
token_file_retry_seconds = 5.0  # after a failed refresh: soon, and not a busy loop

# The table: one mmap file a machine, allocated in full at creation.
table_branches_max = 262_144  # 250,000 live branches, 64 MiB of records
table_revocations_max = 1_048_576  # 1 M live revocations, 64 MiB of records
table_reservations_max = 65_536  # calls in flight on one machine, 8 MiB
table_attachments_max = 1024  # processes that map the table at once
table_branches_default = 65_536  # 16 MiB; a crew of a thousand branches a minute for an hour
table_revocations_default = 262_144  # 16 MiB
table_records_min = 64  # one bucket's worth for each of a few shards; tests use it
lease_micro_max = 2**40 - 1  # 1.09 M credits; the amount's bits of the available-credit word
lease_granted_micro_max = lease_micro_max // 2  # two calls at the highest price fit one lease
price_micro_max = lease_granted_micro_max  # a call must fit the lease that is granted for it
branch_memory_seconds = 86_400  # a branch's spend is remembered a day after its last grant ends
fresh_seconds = 5.0  # a table that no agent has vouched for so long admits nothing
always_ns = 2**64 - 1  # a moment of CLOCK_BOOTTIME that does not come
fresh_interval_seconds = 0.25  # the agent vouches four times a second

# The verified-token cache of one process.
token_cache_entries_max = 65_536
token_cache_bytes_max = 64 * 2**20  # the entries above at 1 KiB, the size of a usual token

# Waiting for credit.
credit_wait_seconds = 2.0  # unless configured: a draw on a busy machine; clients wait ten and more
credit_wait_seconds_max = 5.0  # for a ledger on a disk that stalls; a call is not kept longer
reservation_seconds_max = 600.0  # a call in flight is burned after this unless it extends
standalone_reclaim_records = 64  # looked at a second, in a call that draws: 0.2 ms

# The configuration file: written by hand or by a script, read whole.
config_bytes_max = 2**20  # 4,096 tools of 150 bytes take 0.6 MiB
backup_piece_bytes = 2**20  # read at once: a key fits whole, and a large file takes no memory
coarsened_rows_max = 64  # crews in one answer; a site that has more such needs a larger table
coarsened_said_seconds = 3600  # a crew that is over its share is said again after so long
seen_answer_seconds_max = 1.5  # for what other machines say of it; a command waits for 5 in all
seen_asked_at_once = 16  # machines, with a handshake each: 2 ms of a core
seen_members_max = 64  # machines that are asked; the others count as silent
seen_questions_per_second = 5.0  # that a machine answers; people mistype less often
seen_questions_burst = 20  # of several members at once
seen_journal_bytes_max = 64 * 2**20  # looked through for a name that is revoked: 0.1 s in a thread
file_time_seconds = 2.0  # file systems stamp writes this coarsely at worst (FAT)
draft_seconds_max = 3600.0  # a file is written in milliseconds, on a disk that stalls in minutes
name_chars_max = 64  # a crew, listener or upstream; it is seen in logs, paths and columns
workers_max = 64  # one a core; the largest machines that a gateway is put on have fewer
listeners_max = 16  # two address families for each of a few faces
crews_max = 1024  # the gate compiles one row of ceilings each
upstreams_max = 1024  # each keeps a pool in each worker
endpoints_max = 64  # of one upstream; a larger fleet stands behind a name or a balancer of its own
health_path_chars_max = 256  # of an active health request; nobody asks for more than a short path
health_interval_seconds_min = 0.5  # of each worker; 64 workers ask 128 times a second then
health_interval_seconds_max = 3600.0  # what is looked at less often is not watched
health_interval_seconds = 5.0  # as Envoy's and HAProxy's examples have it
health_timeout_seconds = 2.0  # less than the interval, so that no request overtakes the next
health_threshold_max = 20  # answers alike in a row; more would take minutes to believe anything
health_healthy = 2  # one good answer may be luck
health_unhealthy = 3  # as HAProxy's `fall`
tool_body_bytes_max = 16 * 2**30  # a recording of a day; nothing of it is kept in memory
cors_max_age_seconds = 600  # between Chromium's own default of 5 s and its most, 7,200
cors_max_age_seconds_max = 86_400  # the most that any browser honours (Firefox)
tools_max = 4096  # the gate compiles one row each
route_chars_max = 1024  # the path of a route
route_hosts_max = 64  # hosts that tools name together: each has a table of all that it serves
fields_max = 64  # names in one list of header fields or hosts
drain_seconds_default = 5.0  # what a service supervisor grants before it kills, halved
drain_seconds_max = 3600.0  # streams of a working day are not waited for
audit_rotate_bytes = 64 * 2**20  # about 100,000 records
audit_rotate_bytes_min = 64 * 2**10  # a smaller file holds no minute of work
audit_keep_bytes_min = 2**20  # less would not hold the open files of a few processes
audit_keep_bytes_max = 2**50  # a PiB; whoever has more wants no bound
audit_rotate_bytes_max = 4 * 2**30  # what tools that read a file whole still take
audit_rotate_seconds = 86_400  # a file a day, as people look for them
audit_rotate_seconds_max = 31 * 86_400  # a month; longer keeps no promise of deletion

# The link: the agent's unix sockets.
link_straight_bytes_max = 4096  # of a frame past the queue: a draw is 1.5 KiB, an answer 40 bytes
link_frame_bytes_max = 128 * 2**10  # a draw carries one grant (a token is 4 KiB); a page 64 rows
link_note_chars_max = 4096  # a sentence with a path or two
link_tree_rows_max = 64  # rows of one page: 9 texts of 128 characters each stay under the frame
link_targets_max = 256  # of one step: an orchestrator with all its certificates, many times over
link_draws_max = 1024  # draws in flight of one attachment; more than calls waiting in one worker
overruns_kept_max = 1024  # of one worker, until the agent has noted them; it seldom takes a second
overruns_noted_max = 65_536  # by one agent, for a day: all that all workers may keep
link_cut_keys_max = 4096  # of one push, 18 bytes each: half a frame
link_push_frames_max = 256  # unread pushes; whoever reads less looks at the table's generations
link_path_bytes_max = 107  # sun_path of unix(7) is 108 bytes with its NUL
link_backlog = 128  # connections not yet accepted; every process of a machine comes at once
link_connections_max = table_attachments_max + 64  # a door: all guests and some questions
link_guests_least = 64  # embedders for which the agent must have descriptors to start
link_strangers_max = table_attachments_max // 2  # of other users; the rest is for our own workers
link_seconds_max = 5.0  # one question on a unix socket; what takes longer is not going to come
attach_again_seconds_min = 0.05  # an embedder that lost its agent tries again: soon,
attach_again_seconds_max = 1.0  # and not so often that a thousand of them keep a core busy
attached_look_seconds = 0.25  # at the table's policy generation, should a push have been lost

# The log of a process (runtime/process_log.py).
log_repeat_seconds = 10.0  # the same warning again: seen in time, and too seldom to fill a disk
log_warnings_max = 64  # different ones in that time; what goes wrong has fewer sides
log_later_max = 64  # events of other threads that wait for the audit's next second

# The audit's files (rotation: see the configuration file above).
audit_ballast_bytes = 4 * 2**20  # records of 6,000 calls in flight in one process, at 650 bytes
audit_sync_seconds = 1.0  # 2 to 20 ms of a disk's time each, for each process that writes
audit_late_seconds_max = 3.0  # for a sync, or a new file; then it is said in health
audit_end_seconds_max = 1.0  # for the last sync of a process that ends; an agent has two seconds
reconcile_seconds_max = 600.0  # of the audit with the ledger, after a power loss: 10 GB of lines
audit_rows_default = 50  # what a terminal shows without scrolling far
audit_rows_max = 1_000_000  # 0.6 GiB of JSON; whoever wants more reads the files
audit_refusal_seconds = 60.0  # a summary a minute and stranger: at most 90 MB a day and process
audit_refusal_keys_max = 256  # networks that are told apart between two summaries; others share one

# Connections of one worker (server/).
connections_max = 20_000  # of one listener and worker; an idle one costs some 60 KiB
connections_least = 256  # the same, where the file says no number: with fewer it must not start
connections_per_address_max = 8_000  # a crew behind one NAT, and never the whole of the above
backlog = 1024  # connections that wait for accept; the kernel lowers it to somaxconn
accept_pause_seconds = 0.1  # out of descriptors: accept again when some connection has ended
handshakes_at_once = 8  # steps of them before others have the loop; 0.3 ms each
handshake_seconds_max = 10.0  # TLS 1.3 takes one round trip; a phone on a bad network takes 3 s
head_seconds_max = 10.0  # from a request's first byte to the end of its fields
idle_seconds_max = 120.0  # a connection without a request; longer than clients keep theirs
body_wait_seconds_max = 30.0  # a client that owes bytes of a body and sends none
send_wait_seconds_max = 60.0  # a client that does not read what it asked for
turn_events_max = 256  # sockets of one turn: 10 ms of work, then timers and tasks have theirs
turn_seconds_max = 0.01  # where they take longer, with 128 requests in each; a cut is due in 20
turn_bulk_events_max = 16  # sockets with large bodies in one turn; 3 ms, most of it to write them
bulk_bytes = 16_384  # a read of so much has more behind it; a full TLS record (RFC 8446 §5.1)
turns_seconds_max = 0.002  # turns in a row before Trio's tasks (timers, handshakes) have theirs
turn_wait_seconds = 0.001  # for the next turn among them: a tool's server nearby answers in that
sweep_connections = 256  # swept before others have the loop: a quarter of a millisecond
sweep_seconds = 1.0  # how exact the times above are; one look costs 1 µs a connection
drain_notice_seconds = 3.0  # before a GOAWAY to a busy client; most calls have ended by then
linger_seconds_max = 1.0  # read on after the last answer, so that a reset cannot destroy it
head_bytes_max = 32_768  # a token of 4 KiB, cookies and trace fields; nginx takes 32 KiB
authority_bytes_max = 261  # a name of 255 (RFC 1035 §2.3.4) and a port; kept per client
method_bytes_max = 32  # the longest one registered has 17; it stands in every audit record
head_fields_max = 100  # as Apache (LimitRequestFields)
pipelined_requests_max = 256  # waiting at once, 1 KiB each; with a token few fit into one read
# Of a chunked body: what its framing may cost, beside `head_bytes_max` once, as Go's net/http bears
# it (CVE-2023-39326). A chunk of one byte has five of framing; long extensions are an attack.
chunk_overhead_bytes = 16  # of each chunk
chunk_overhead_ratio = 2  # and of each byte
request_body_bytes_max = 64 * 2**20  # a prompt with pictures
receive_bytes = 65_536  # a read; four TLS records
send_bytes = 65_536  # what one wake of a writer encrypts before it looks up again
buffer_bytes_max = 65_536  # of one body, each way, before whoever produces it must wait
judged_body_bytes_max = buffer_bytes_max  # read before the verdict where a tool asks for it
discard_bytes_max = 8 * 2**20  # of a refused body: httpx loses the answer if it is cut short
streams_max = 128  # of one HTTP/2 connection at once; RFC 9113 §6.5.2 advises 100 or more
stream_window_bytes = 65_536  # the initial window of RFC 9113 §6.9.2
# All streams' windows together: one unread body never stalls the others.
connection_window_bytes = streams_max * stream_window_bytes

# What a whole connection may send, and how fast (server/http2.py, server/http1.py).
connection_requests_max = 1_000_000  # a day at 11 a second; it may come back to another worker
connection_bytes_max = 2**38  # 2^24 full records under one key are AES-GCM's (RFC 8446 §5.5)
# Token buckets of nghttp2, at its own defaults: two clients of the field stay far below.
stream_resets_burst = 1000  # CVE-2023-44487; a client that gives up a page of calls resets 128
stream_resets_per_second = 33  # from then on, about as many calls as a person can begin
stream_errors_max = 1000  # of one connection; no client of the field makes one (CVE-2025-8671)
glitches_burst = 10_000  # empty DATA, unknown frames, frames of streams that are closed
glitches_per_second = 330  # ten times the resets, as nghttp2 has it
acknowledgements_max = 1000  # of pings and settings, not yet read by the client (CVE-2019-9512)
continuations_max = 8  # of one head, which fits into three frames (CVE-2024-28182)
settings_entries_max = 32  # of one frame; RFC 9113 §6.5.2 has six
control_bytes_max = 65_536  # read beside payload while answers are unread: 5,000 frames, 1 MiB
head_slack = 2  # beyond its bounds so often, a head costs its connection, not its stream alone

# Bad tokens: those that no key signed. A good client has none; each costs 60 µs.
bad_tokens_max = 100  # of one connection, then it is drained; a handshake costs as much as 20
bad_tokens_burst = 1000  # of one address: a crew of 1,000 agents whose key was just removed
bad_tokens_per_second = 50  # of one address from then on: 0.3 % of a core
bad_token_addresses_max = 4096  # remembered; 200 bytes each

# The agent.
clock_step_seconds_max = 2.0  # NTP slews below 0.128 s and steps above; nobody steps 2 s on purpose
clock_slew_ppm_max = 1000  # Linux slews at 500 ppm (adjtimex(2))
clock_settle_seconds = 10.0  # a step that stays so long was meant: first NTP sync, an operator
clock_distrust_seconds = 7200  # a wall clock may be an hour off (a zone, a summer) and twice that
revocation_seconds = 86_400  # a dead branch may be refreshed for hours by one who does not know
dead_keys_look_seconds = 60  # whether a revoked key is still trusted; its death lasts a day
revocation_answer_seconds_max = 1.0  # a worker cuts within its look every 20 ms, or is stopped
reclaim_records_max = 4096  # looked at a second: the largest table in a minute, 10 ms at a time
draw_again_seconds = 0.02  # a contended draw is tried so often even if no credit was seen to return
inherited_seconds = 6.0  # guests of a killed agent come back before the table is stale (5 s)
configuration_looks_max = 3  # a script that writes it piece by piece is done by then
descriptors_spare = 64  # table, journals, audit, the loop's own
policies_kept = 16  # to name the tool of a call that began under an older one
tree_machines_max = 8  # named in one row of the tree; the rest is in its sum
tree_scan_records = 4096  # 10 ms at a time, so that draws go on meanwhile
journal_slack_lines = 4096  # about 1 MiB before a rewriting pays

# Tools' servers (upstream/).
upstream_connections_default = 256  # of one upstream and worker, busy and idle ones together
upstream_connections_max = 4096  # a call a connection: with calls of 1 s what a worker can carry
upstream_retry_share = 0.2  # of the calls; Finagle's and Envoy's default for a retry budget
upstream_keep_seconds = 4.0  # unused; servers of the field close after 5 (uvicorn, Node)
# Unused after an answer that was over with its head: a mistaken body comes a round trip later.
upstream_rest_seconds = 0.1  # from the other side of an ocean; 100 such calls a second rest on 10
upstream_connect_seconds_max = 10.0  # name, TCP and TLS together; also the wait for a free one
upstream_first_byte_seconds_max = 300.0  # a model that thinks before it answers
upstream_idle_seconds_max = 300.0  # between two bytes of an answer, or of a request
upstream_head_bytes_max = 65_536  # of an answer; twice what we take from a client
upstream_streams_max = 128  # of one HTTP/2 connection at once, if its server allows as many
# Malformed answers of one HTTP/2 connection, before its calls move to another: ngh2 0.3 never opens
# the connection's window again by what was in the frame at fault, which has 16 KiB at most. And a
# server that minds resets (CVE-2023-44487) gives up a connection at 1,000.
upstream_malformed_max = 100
# From the first to the last byte of an HTTP/2 frame, or header block, for which all others wait.
upstream_frame_seconds_max = 5.0  # 16 KiB at 3 KiB/s
upstream_window_bytes = 262_144  # of one stream; 5 MB/s over a way of 50 ms
probe_look_seconds = 0.25  # whether a server is to be probed
upstream_retries_max = 2  # of one call: one that met an old connection, one bad server
upstream_informational_max = 16  # 103s of one answer that go on; more than one is rare
upstream_fields_max = 200  # twice what we take from a client, as its bytes
members_max = 256  # servers of one upstream, by address; a choice looks at each, at 0.1 µs
breaker_failures = 5  # in a row, as Envoy's outlier detection; one or two may be a server's restart
breaker_doubt_seconds = 1.0  # after one failure others are preferred; most restarts take longer
breaker_seconds_min = 0.5  # the first backoff; a process that is restarted at once is back by then
breaker_seconds_max = 30.0  # as Envoy's base ejection; a server that is back waits no longer
retry_window_seconds = 10  # as Finagle's: what calls earned before is forgotten
retry_floor_per_second = 3  # a quiet upstream may retry too; Envoy's floor is 3 at once
resolve_seconds = 10.0  # between two questions for a name: how old its addresses may become
resolve_again_seconds = 1.0  # the soonest, for a call that waits: a failed answer is quick
resolve_seconds_max = 5.0  # one attempt of the system's resolver; who waits is told then
resolve_threads_max = 16  # of a worker; one hangs for each name whose servers are silent
addresses_max = 64  # of one name; an answer of the DNS over UDP (1,232 bytes) has room for 40

# The supervisor.
restart_seconds_min = 0.1  # the second restart in a row; the first one is at once
restart_seconds_max = 5.0  # what cannot start does not keep a core busy
restart_forgiven_seconds = 10.0  # whoever lived so long died of something new
agent_end_seconds = 6.0  # it drains nothing, and takes leave of its ledger
lock_look_seconds = 0.02  # whether the lock is free by now
lock_wait_seconds = 2.0  # the agent of a killed `serve` is being taken down by the kernel

# Orchestrators under `crewgate run`.
run_connections_max = 256  # open at its door at once; two buffers of 64 KiB and a TLS state each
run_connect_seconds_max = 5.0  # to the crews' listener, which is near: TCP, and then TLS as well
run_linger_seconds_max = 5.0  # for CMD to close its side, once the gateway has closed its own
run_renewal_share = 0.5  # of a certificate's life: half of it is left for attempts that fail
run_renewal_spread = 0.1  # of that: a fleet that was started together does not renew together
run_renewal_seconds_min = 1.0  # half of the shortest life that anybody would try out
run_retry_seconds = 15.0  # after a renewal that failed; of 2 h there are 480 such attempts
run_wait_seconds_max = 30.0  # looks at the clock again: a wall clock may have been set
run_end_seconds = 5.0  # between SIGTERM and SIGKILL, as `drain_seconds_default`
run_kill_seconds = 5.0  # SIGKILL again and again; what is left then hangs in the kernel
run_farewell_seconds = 30.0  # for a supervisor to end: both of the above, a CA's disk, an agent
run_tell_seconds = 1.5  # for an agent that is being restarted; it takes half a second
run_look_seconds = 0.02  # whether a process that was killed is gone
run_log_warnings_max = 16  # different ones of one orchestrator in `log_repeat_seconds`
run_tree_depth_max = 64  # from a client at the door up to CMD; shells in shells are ten deep
# Uids of orchestrators' own: above what 16 bits hold (systemd, nobody), below where user
# namespaces are given theirs (SUB_UID_MIN of login.defs is 100,000).
run_uid_min = 68_000  # leaves 65,536 and what image builders count from there alone
run_uid_max = 99_999  # 32,000 orchestrators; a machine runs out of memory first
run_uids_kept = 16_000  # of the latest that have ended; as many again are always free for others

# The demo: a story that ends by itself, whatever hangs.
demo_seconds_max = 120.0  # its processes end themselves then; the story takes a quarter of it
demo_summary_seconds = 30.0  # a summary that nobody cuts outlasts the story
demo_event_seconds = 0.05  # an event of the summary; cuts are seen with this resolution or better
demo_loop_calls = 300  # 2.50 credits pay for 250 of them; the others show that it stays so
demo_sibling_calls = 90  # of each sibling, 0.90 credits; the story asks for 50 of all of them
demo_pace_seconds = 0.05  # between two calls of a sibling: 90 calls outlast loop and cut
demo_scrape_every = 5  # every fifth call of the drafter is followed by one that it may not make
demo_dead_calls = 20  # that the revoked fact-checker tries
demo_after_calls = 20  # that each tries at a further gateway once the receipt is there; a second
demo_after_seconds = 20.0  # for them; a gateway that is down has each wait and come again
demo_border_calls = 40  # of the orchestrator who stays; two seconds, longer than the leaving
demo_answer_seconds = 10.0  # no answer for so long is a failed call
demo_again_max = 3  # times that an agent comes again when it is told to, a second later
demo_start_seconds = 20.0  # until the gateway is ready, on a busy machine
demo_story_seconds = 60.0  # then the story has not held
demo_stop_seconds = 8.0  # a gateway drains for 5
demo_listen_seconds = 0.5  # of its stream an agent hears so much before it is revoked
demo_cut_ms_max = 200.0  # the mission's bound for the end of a revoked stream
demo_event_bytes_max = 4096  # the last event of a stream, a problem of half a KiB
demo_body_bytes_max = 2**20  # more than any agent of the story sends

# A worker (gateway/).
identities_max = 4096  # grants whose fields are kept as they go upstream; with the grant 2 KiB each
peer_lines_per_second = 20  # of the audit, for connections refused at one listener; 6 MB an hour
barred_keys_max = 4096  # revoked of late, until handshakes under an older list are over; 0.5 MiB
certificate_overrun_seconds = 900  # a call's, beyond its certificate: a token's life, which ends it
peer_lines_burst = 200  # a fleet whose CA was changed
call_lines_max = 4096  # grants, tools and networks whose line of the audit is kept; 1 KiB each
request_ids_at_once = 256  # read from the kernel's random numbers with one call; 4 KiB
origins_max = 4096  # clients whose address and authority are kept as they go upstream; 400 B each
attach_again_seconds = 0.1  # a restarted agent takes half a second; the table is fresh for 5
revocation_look_seconds = 0.02  # the table's generation: the certain way to hear of a revocation
cut_memory_seconds = 2.0  # of calls that a look has cut before the push came: the receipt has them
cuts_remembered = 4096  # of those, each with all that its token names; 12 MiB at most
reload_refused_seconds = 5.0  # bad content again: a file that it names may be there by now
reload_again_seconds = 0.5  # a file that could not be loaded although the agent could
drain_share = 0.8  # of the supervisor's patience; the rest is for telling who is left
drain_last_seconds = 0.25  # for the resets of calls that were cut, and their records
