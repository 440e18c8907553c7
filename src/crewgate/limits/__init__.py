"""All bounds of Crewgate, in one name space: each with its unit in the name and its reason.

A key of the configuration may set some of them.
"""

from crewgate.limits.a2a import *  # noqa: F403 - one name space, several files
from crewgate.limits.admin import *  # noqa: F403 - the same
from crewgate.limits.archive import *  # noqa: F403 - the same
from crewgate.limits.argument_rules import *  # noqa: F403 - the same
from crewgate.limits.audit_checkpoints import *  # noqa: F403 - the same
from crewgate.limits.call_limits import *  # noqa: F403 - the same
from crewgate.limits.certificate_only_calls import *  # noqa: F403 - the same
from crewgate.limits.certificates import *  # noqa: F403 - the same
from crewgate.limits.cluster_view import *  # noqa: F403 - the same
from crewgate.limits.control_api import *  # noqa: F403 - the same
from crewgate.limits.export import *  # noqa: F403 - the same
from crewgate.limits.extensions import *  # noqa: F403 - the same
from crewgate.limits.gossip import *  # noqa: F403 - the same
from crewgate.limits.health import *  # noqa: F403 - the same
from crewgate.limits.identity_provider import *  # noqa: F403 - the same
from crewgate.limits.json_rpc import *  # noqa: F403 - the same
from crewgate.limits.ledger import *  # noqa: F403 - the same
from crewgate.limits.load_test import *  # noqa: F403 - the same
from crewgate.limits.mcp import *  # noqa: F403 - the same
from crewgate.limits.mcp_group import *  # noqa: F403 - the same
from crewgate.limits.mcp_pins import *  # noqa: F403 - the same
from crewgate.limits.metrics import *  # noqa: F403 - the same
from crewgate.limits.minting_watch import *  # noqa: F403 - the same
from crewgate.limits.prices import *  # noqa: F403 - the same
from crewgate.limits.proofs import *  # noqa: F403 - the same
from crewgate.limits.receivers import *  # noqa: F403 - the same
from crewgate.limits.replay import *  # noqa: F403 - the same
from crewgate.limits.rules import *  # noqa: F403 - the same
from crewgate.limits.sealed_ids import *  # noqa: F403 - the same
from crewgate.limits.sidecar import *  # noqa: F403 - the same
from crewgate.limits.top import *  # noqa: F403 - the same
from crewgate.limits.ui import *  # noqa: F403 - the same
from crewgate.limits.ui_process import *  # noqa: F403 - the same
from crewgate.limits.upstream import *  # noqa: F403 - the same
from crewgate.limits.upstream_work import *  # noqa: F403 - the same

# Tokens, in the shape of RFC 9068; the sizes keep a hostile token under 200 µs of CPU.
token_bytes_max = 4096  # half of the 8 KiB that proxies commonly take in a header field
token_lifetime_seconds_max = 900  # 15 minutes: how long a leaked token is worth something
leeway_seconds = 5  # clocks of machines with NTP differ by far less
json_depth_max = 10  # the claims, and the actors of the deepest branch in each other
json_members_max = 64  # members of one object; our claims have 18
claim_chars_max = 128  # URLs and names; the whole token stays under 4 KiB
allowed_tools_max = 64  # for more names, use a pattern; 64 of 40 bytes fit a token
audiences_max = 8  # a token for more gateways than that would be one for any gateway
depth_max = 8  # ancestors of a branch; trees of agents seen in the field are 3 deep
time_seconds_max = 2**33  # year 2242; in nanoseconds, leeway included, it stays in 63 bits
quota_micro_max = 2**53 - 1  # the largest integer that every JSON reader keeps exact
state_files_looked_at_max = 100_000  # of a folder, for the time of its last change; under a second
jwks_bytes_max = 65_536  # 64 keys of 200 bytes, with room for certificates beside them
jwks_keys_max = 64  # of one crew: one for each orchestrator, two during a rotation of keys
key_file_bytes_max = 16_384  # PKCS 8 of an Ed25519 key is 119 bytes of PEM

# The issuer.
issuer_branches_max = 65_536  # that an orchestrator remembers at once; 100 MiB of claims
path_chars_max = 255  # NAME_MAX; of a longer path, errors show the start: no token is so short
refresh_margin_seconds_max = 300  # a third of a token's life: time for two more attempts
token_file_look_seconds_max = 30.0  # until all files are checked again; a wall clock may have moved
token_file_retry_seconds = 5.0  # after a failed refresh: soon, and not a busy loop

# The table: one mmap file for each machine, allocated in full at creation.
table_branches_max = 262_144  # 250,000 live branches, 64 MiB of records
table_revocations_max = 1_048_576  # 1 M live revocations, 64 MiB of records
table_reservations_max = 65_536  # calls in flight on one machine, 8 MiB
table_attachments_max = 1024  # processes that map the table at once
table_branches_default = 65_536  # 16 MiB; a crew with 1,000 branches a minute for an hour
table_revocations_default = 262_144  # 16 MiB
table_proofs_max = 2**24  # 49,000 proofs a second; 128 MiB
table_proofs_default = 2**20  # 3,000 proofs a second, more than the tools of most sites; 8 MiB
standalone_proofs = 2**17  # 380 proofs a second in one process; 1 MiB
table_proofs_min = 1024  # 64 in each window; tests use it
table_records_min = 64  # one bucket for each of a few shards; tests use it
lease_micro_max = 2**40 - 1  # 1.09 M credits; the amount's bits of the available-credit word
lease_granted_micro_max = lease_micro_max // 2  # two calls at the highest price fit one lease
price_micro_max = lease_granted_micro_max  # a call must fit the lease that is granted for it
branch_memory_seconds = 86_400  # a branch's spending is remembered for a day after its last grant
fresh_seconds = 5.0  # nothing is admitted on a table that no agent has refreshed for so long
never_ns = 2**64 - 1  # a moment of CLOCK_BOOTTIME that never comes
fresh_interval_seconds = 0.25  # the agent extends the table's freshness four times a second
tidy_seconds = 1.0  # between two looks of the agent at leases, reservations, records and files

# The verified-token cache of one process.
token_cache_entries_max = 65_536  # as many as the table has branches by default
token_cache_bytes_max = 64 * 2**20  # `token_cache_entries_max` of 1 KiB, the size of a usual token

# Waiting for credit.
credit_wait_seconds = 2.0  # by default: time for a draw on a busy machine; clients wait over ten
credit_wait_seconds_max = 5.0  # for a ledger on a disk that stalls; calls wait no longer
reservation_seconds_max = 600.0  # a call in flight burns after this, unless it extends
standalone_reclaim_records = 64  # scanned once a second, in a call that draws: 0.2 ms

# The configuration file, which a person or a script writes and Crewgate reads whole.
config_bytes_max = 2**20  # 4,096 tools of 150 bytes take 0.6 MiB
backup_piece_bytes = 2**20  # read at once: a key fits whole, and a large file takes no memory
coarsened_rows_max = 64  # crews in one answer; a site with more of them needs a larger table
coarsened_log_seconds = 3600  # until the log names a crew over its share again
seen_answer_seconds_max = 1.5  # for other machines to answer; a command waits for 5 in all
seen_asked_at_once = 16  # machines, each with a handshake: 2 ms of a core
seen_members_max = 64  # machines that are asked; the others count as unresponsive
seen_questions_per_second = 5.0  # that a machine answers; people mistype names less often
seen_questions_burst = 20  # of several members at once
seen_journal_bytes_max = 64 * 2**20  # searched for a revoked name: 0.1 s in a thread
file_time_seconds = 2.0  # the coarsest time stamps of file systems (FAT)
draft_seconds_max = 3600.0  # a write takes milliseconds, or minutes on a disk that stalls
by_chars_max = 160  # who ordered something: the kind of person, and a mail address or two names
name_chars_max = 64  # a crew, listener or upstream; people see it in logs, paths and columns
workers_max = 64  # one for each core; the largest machines for a gateway have fewer cores
listeners_max = 16  # two address families for each of a few listeners
crews_max = 1024  # the gate compiles one row of ceilings for each
crew_ceilings_max = 256  # for each of roles and orchestrators of a crew; each is a dict entry
upstreams_max = 1024  # each has a pool in each worker
endpoints_max = 64  # of one upstream; a larger fleet has a name or balancer of its own
health_path_chars_max = 256  # of an active health check; nobody asks for more than a short path
health_interval_seconds_min = 0.5  # of each worker; 64 workers ask 128 times a second then
health_interval_seconds_max = 3600.0  # a server that is asked less often is not watched
health_interval_seconds = 5.0  # as in the examples of Envoy and HAProxy
health_timeout_seconds = 2.0  # below the interval, so that checks do not overlap
health_threshold_max = 20  # equal answers in a row; more would take minutes
health_healthy = 2  # one good answer may be luck
health_unhealthy = 3  # as HAProxy's `fall`
tool_body_bytes_max = 16 * 2**30  # a recording of a day; nothing of it stays in memory
cors_max_age_seconds = 600  # between Chromium's default of 5 s and its maximum of 7,200
cors_max_age_seconds_max = 86_400  # the longest that any browser honors (Firefox)
tools_max = 4096  # the gate compiles one row for each
route_chars_max = 1024  # the path of a route
route_hosts_max = 64  # that tools name together: each has a table of all that it serves
fields_max = 64  # names in one list of header fields or hosts
drain_seconds_default = 5.0  # half of what a service supervisor grants before it kills
drain_seconds_max = 3600.0  # streams may last a working day: nobody waits for those
audit_rotate_bytes = 64 * 2**20  # about 100,000 records
audit_rotate_bytes_min = 64 * 2**10  # a smaller file does not hold a minute of work
audit_keep_bytes_min = 2**20  # less does not hold the open files of a few processes
audit_keep_bytes_max = 2**50  # a PiB; for more, set no bound
audit_rotate_bytes_max = 4 * 2**30  # tools that read a file whole still take so much
audit_rotate_seconds = 86_400  # a file for each day, as people look for them
audit_rotate_seconds_max = 31 * 86_400  # a month; a longer file keeps no promise of deletion

# The unix sockets of the agent (ipc/, agent/ipc_server/).
ipc_direct_send_bytes_max = 4096  # of a frame past the queue: a draw is 1.5 KiB, an answer 40 bytes
ipc_frame_bytes_max = 128 * 2**10  # a draw holds one grant (a token is 4 KiB), a page 56 rows
ipc_reason_chars_max = 4096  # a sentence with a path or two
ipc_tree_rows_max = 56  # on one page: 9 texts of 128 characters each stay under the frame
ipc_targets_max = 256  # in one step: an orchestrator with all its certificates, many times over
ipc_missing_names_max = 256  # machines that a receipt names; beside 256 targets they fit a frame
ipc_draws_max = 1024  # in flight for one attachment; more than the calls that wait in a worker
overruns_kept_max = 1024  # of one worker, until the agent has noted them: seldom a second
overruns_noted_max = 65_536  # by one agent, for a day: all that 64 workers may keep
ipc_revoked_keys_max = 4096  # in one push, 18 bytes each: half a frame
ipc_push_frames_max = 256  # unread pushes; a slower reader checks the table's generations instead
ipc_path_bytes_max = 107  # sun_path of unix(7) has 108 bytes, with its NUL
ipc_backlog = 128  # connections not yet accepted; all processes of a machine come at once
ipc_connections_max = table_attachments_max + 64  # attached processes, and some questions
ipc_attachments_min = 64  # embedders for which the agent must have descriptors to start
ipc_other_users_max = table_attachments_max // 2  # of other users; the rest is for our own workers
ipc_seconds_max = 5.0  # one question on a unix socket; a later answer never comes
attach_again_seconds_min = 0.05  # until an embedder without an agent tries again; the pause doubles
attach_again_seconds_max = 1.0  # longest such pause; a thousand embedders then keep no core busy
attached_look_seconds = 0.25  # between checks of the table's policy generation: a push may be lost

# The log of a process (runtime/process_log.py, runtime/log_format.py).
log_repeat_seconds = 10.0  # until a warning repeats: it stays visible, and cannot fill a disk
log_warnings_max = 64  # different ones in that time; fewer things go wrong at once
log_message_chars_max = 8_192  # of one record; a configuration with many mistakes has fewer
log_traceback_chars_max = 24_576  # with the message, below the 48 KiB of a line of journald
log_later_max = 64  # events of other threads that wait for the audit's next second

# The files of the audit (for rotation, see the configuration file above).
audit_reserved_bytes = 4 * 2**20  # records of 6,000 calls in flight in one process, at 650 bytes
audit_last_bytes = 4 * 2**20  # a worker writes at most 1,024 records at once, of 1 to 2 KB
audit_sync_seconds = 1.0  # takes 2 to 20 ms of a disk's time for each process that writes
audit_late_seconds_max = 3.0  # for a sync or a new file; health reports a longer one
audit_end_seconds_max = 1.0  # for the last sync of an ending process; an agent has two seconds
reconcile_seconds_max = 600.0  # of the audit with the ledger, after a power loss: 10 GB of lines
audit_rows_default = 50  # what a terminal shows without much scrolling
audit_minutes_max = 1440  # with a sum each, in the history of a branch or a crew: a day
audit_rows_max = 1_000_000  # 0.6 GiB of JSON; for more, read the files
audit_refusal_seconds = 60.0  # a line a minute for each network: at most 90 MB a day and process
audit_refusal_keys_max = 256  # networks with a line of their own each interval; the rest share one

# Connections of one worker (server/).
connections_max = 20_000  # of one listener in one worker; an idle one takes some 35 KiB
connections_min = 256  # `connections_max`, if descriptors are few; with fewer, it must not start
connections_per_address_max = 8_000  # a crew behind one NAT, and never all of `connections_max`
backlog = 1024  # connections that wait for accept; the kernel lowers it to somaxconn
accept_pause_seconds = 0.1  # without descriptors: accept again when a connection has ended
handshake_seconds_max = 10.0  # TLS 1.3 takes one round trip; a phone on a bad network takes 3 s
head_seconds_max = 10.0  # from a request's first byte to the end of its fields
idle_seconds_max = 120.0  # a connection without a request; clients keep theirs for less
body_wait_seconds_max = 30.0  # for a client that owes bytes of a body and sends none
send_wait_seconds_max = 60.0  # for a client that does not read what it asked for
turn_events_max = 256  # sockets of one turn: 10 ms of work; timers and tasks run after it
turn_seconds_max = 0.01  # for longer turns, with 128 requests each; a cut is due within 0.02
turn_socket_seconds_max = 0.0005  # a socket that took longer is bulky: others come first next time
turn_frames_seconds_max = 0.002  # of one HTTP/2 connection; the other frames that it has read wait
turn_bulk_events_max = 16  # bulky sockets of one turn: large bodies, handshakes, floods
turn_bulk_seconds_max = 0.005  # as long as 16 handshakes or records of a body take
turn_bulk_look_seconds = 0.001  # of bulky sockets, until a look whether another one is ready
bulk_bytes = 16_384  # after so large a read, more follows; a full TLS record (RFC 8446 §5.1)
turn_accepts_max = 16  # connections that one listener accepts in one turn; each takes 0.1 ms
turns_seconds_max = 0.002  # of turns in a row before Trio's tasks (timers, streams) run
turn_wait_seconds = 0.001  # until idle work, since the next calls often end in that
turns_proof_seconds_max = 1.0  # in which the first turn serves a socket; it takes 0.1 ms
sweep_connections = 256  # checked before other tasks run: a quarter of a millisecond
sweep_seconds = 1.0  # how exact the limits of time are; a check takes 1 µs for each connection
drain_first_request_seconds = 1.0  # of a new connection when its process ends: some round trips
drain_notice_seconds = 3.0  # before a GOAWAY to a busy client; most calls have ended by then
linger_seconds_max = 1.0  # reading on after the last answer, so that no reset destroys it
head_bytes_max = 32_768  # a token of 4 KiB, cookies and trace fields; nginx takes 32 KiB
authority_bytes_max = 261  # a name of 255 (RFC 1035 §2.3.4) and a port; kept for each client
method_bytes_max = 32  # the longest registered one has 17; each audit record has it
head_fields_max = 100  # as Apache (LimitRequestFields)
# The fields of heads over HTTP/2 are kept in blocks of memory for later heads: 1 MiB of a worker.
kept_heads_max = 256
kept_head_bytes = 3072  # a token of 2 KiB with ten usual fields; a larger head gets a larger block
kept_head_fields = 24  # an agent's request has 10 to 15
pipelined_requests_max = 256  # that wait at once, 1 KiB each; with a token, few fit one read
# Framing that each chunk of a body may have, beside `chunk_overhead_ratio` and, once,
# `head_bytes_max`, as in Go's net/http (CVE-2023-39326). A chunk of one byte has five bytes of
# framing; long extensions are an attack.
chunk_overhead_bytes = 16
chunk_overhead_ratio = 2  # bytes of framing for each byte of a chunk; see `chunk_overhead_bytes`
request_body_bytes_max = 64 * 2**20  # a prompt with pictures
receive_bytes = 65_536  # one read; four TLS records
send_bytes = 65_536  # what a writer encrypts at once before it yields
buffer_bytes_max = 65_536  # of one body, in each direction, before its sender must wait
judged_body_bytes_max = buffer_bytes_max  # read before the verdict, if a tool needs the body for it
discard_bytes_max = 8 * 2**20  # of a refused body: httpx loses the answer if it is cut short
streams_max = 128  # of one HTTP/2 connection; RFC 9113 §6.5.2 advises 100 or more
stream_window_bytes = 65_536  # the initial window of RFC 9113 §6.9.2
# The windows of all streams together, so that one unread body never stalls the others.
connection_window_bytes = streams_max * stream_window_bytes

# How much a whole connection may send, and how fast (server/http2.py, server/http1.py).
connection_requests_max = 1_000_000  # a day at 11 a second; the client may connect again
connection_bytes_max = 2**38  # AES-GCM allows 2^24 full records under one key (RFC 8446 §5.5)
# The token bucket of nghttp2 with its default, against CVE-2023-44487. Clients stay far below it:
# one that gives up a page of calls resets 128 streams.
stream_resets_burst = 1000
stream_resets_per_second = 33  # after the burst: about as many calls as a person can begin
stream_errors_max = 1000  # of one connection; no client of the field makes one (CVE-2025-8671)
glitches_burst = 10_000  # empty DATA, unknown frames, frames of closed streams
glitches_per_second = 330  # ten times the resets, as in nghttp2
acknowledgements_max = 1000  # of pings and settings that a client has not read (CVE-2019-9512)
continuations_max = 8  # of one head, which fits three frames (CVE-2024-28182)
settings_entries_max = 32  # in one frame; RFC 9113 §6.5.2 has six
control_bytes_max = 65_536  # read beside payload while answers are unread: 5,000 frames, 1 MiB
head_slack = 2  # a head of so many times its bounds ends the connection, not its stream alone

# Bad tokens, which no key has signed. A good client has none; each costs 60 µs.
bad_tokens_max = 100  # of one connection, which is then drained; a handshake costs as much as 20
bad_tokens_burst = 1000  # of one address: a crew of 1,000 agents whose key was just removed
bad_tokens_per_second = 50  # of one address after the burst: 0.3 % of a core
bad_token_addresses_max = 4096  # remembered; 200 bytes each

# The agent.
clock_step_seconds_max = 2.0  # NTP slews below 0.128 s and steps above; nobody steps 2 s on purpose
clock_slew_ppm_max = 1000  # Linux slews at 500 ppm (adjtimex(2))
clock_settle_seconds = 10.0  # a step that lasts so long was meant: first NTP sync, an operator
clock_distrust_seconds = 7200  # a wall clock may be an hour off (zone, summer time); twice that
revocation_seconds = 86_400  # a holder that does not know of it may refresh the branch for hours
revoked_keys_check_seconds = 60  # between checks of the trusted keys; entries last a day
revocation_answer_seconds_max = 1.0  # a worker that is not stopped scans and cuts within 20 ms
reclaim_records_max = 4096  # scanned per second, 10 ms: the largest table takes a minute
draw_again_seconds = 0.02  # until a contended draw is tried again without any sign of credit
inherited_seconds = 6.0  # attached processes return before the table is stale (5 s)
configuration_looks_max = 3  # a script that writes it piece by piece is done by then
descriptors_spare = 64  # table, journals, audit, the loop's own
policies_kept = 16  # to name the tool of a call that began under an older policy
tree_machines_max = 8  # named in one row of the tree; its sum has the rest
tree_scan_records = 4096  # 10 ms at a time, so that draws continue meanwhile
tree_read_seconds_min = 0.5  # between two readings for those who follow it, such as three pages
tree_ledger_seconds = 5.0  # at least, between two readings of the ledger for them
tree_ledger_seconds_max = 30.0  # at most, even if the ledger is slow: a person compares amounts
tree_ledger_share = 0.02  # of the time that these take at most: they are half of what a tree costs
tree_unused_seconds = 30.0  # without a question, until the agent forgets the tree that it follows
tree_gone_max = 16_384  # names of branches that ended, for those who follow; 200 bytes each
journal_slack_lines = 4096  # about 1 MiB before it is worth rewriting the journal

# The supervisor.
restart_seconds_min = 0.1  # before the second restart in a row; the first is at once
restart_seconds_max = 5.0  # a child that cannot start must not keep a core busy
restart_forgiven_seconds = 10.0  # a child that lived so long restarts without a pause
agent_end_seconds = 6.0  # it drains nothing, but gives credit back to its ledger
lock_look_seconds = 0.02  # between checks whether the lock is free
lock_wait_seconds = 2.0  # for the kernel to end the agent of a killed `serve`
service_check_seconds = 1.0  # between two looks whether a starting gateway serves calls
service_send_seconds_max = 1.0  # for a busy service manager to take a message of its protocol
service_stop_seconds = 10.0  # beside `drain_seconds`: to kill what does not end, and to log it
service_checks_in_watchdog = 3  # one answer of a busy agent may be late, and the next one too

# Orchestrators under `crewgate run`.
run_connections_max = 256  # open at its socket; `sidecar_calls_max` bounds their calls
run_connect_seconds_max = 5.0  # to the crews' listener nearby: for TCP, and as long for TLS
run_renewal_share = 0.5  # of a certificate's life: half is left for attempts that fail
run_renewal_spread = 0.1  # of this share: a fleet that starts together must not renew together
run_renewal_seconds_min = 1.0  # half of the shortest life that anybody would try out
run_retry_seconds = 15.0  # after a failed renewal; 2 h have time for 480 attempts
run_wait_seconds_max = 30.0  # until the clock is read again: somebody may have set it
run_end_seconds = 5.0  # between SIGTERM and SIGKILL, as `drain_seconds_default`
run_kill_seconds = 5.0  # of repeated SIGKILL; a process that is left then hangs in the kernel
run_farewell_seconds = 30.0  # for a supervisor to end: 10 s for its command, a CA's disk, an agent
run_announce_seconds = 1.5  # for an agent that is being restarted; a restart takes half a second
run_look_seconds = 0.02  # between checks whether a killed process is gone
run_log_warnings_max = 16  # different ones of one orchestrator in `log_repeat_seconds`
run_tree_depth_max = 64  # from a client at the socket up to CMD; nested shells are ten deep
# The first uid for orchestrators. Lower ones have other owners: the system and its services up to
# 65,535, and the builders of container images from 65,536.
run_uid_min = 68_000
# The last of 32,000 uids for orchestrators; a machine runs out of memory first. Above it are the
# uids of user namespaces (SUB_UID_MIN of login.defs is 100,000).
run_uid_max = 99_999
run_uids_kept = 16_000  # of the latest that have ended; as many again are free for others

# The demo, which ends by itself even if something hangs.
demo_seconds_max = 120.0  # then its processes end themselves; the story takes a quarter of it
demo_summary_seconds = 30.0  # a summary that nobody revokes outlasts the story
demo_event_seconds = 0.05  # between events of the summary; the demo sees cuts at least this exactly
demo_loop_calls = 300  # 2.50 credits pay for 250 of them; the others show that it stays so
demo_same_page_calls = 40  # of the researcher, which a rule ends at its 20th
demo_alert_seconds = 20.0  # until the alert about that; the alerts process looks once a second
demo_sibling_calls = 90  # of each sibling, 0.90 credits; the story asks for 50 of all of them
demo_pace_seconds = 0.05  # between two calls of a sibling: 90 calls outlast loop and cut
demo_scrape_every = 5  # after each fifth call the drafter tries one that it may not make
demo_revoked_calls = 20  # that the revoked fact-checker tries
demo_after_calls = 20  # that each tries at another gateway after the receipt; one second
demo_after_seconds = 20.0  # for those calls; at a gateway that is down, each has to be repeated
demo_border_calls = 40  # of the orchestrator that stays; two seconds, longer than the leaving
demo_answer_seconds = 10.0  # after so long without an answer, a call has failed
demo_again_max = 3  # times that an agent retries when the gateway says so, a second later
demo_start_seconds = 60.0  # until the gateway is ready, on a very busy machine
demo_story_seconds = 60.0  # after that, the story has failed
demo_stop_seconds = 8.0  # a gateway drains for 5
demo_listen_seconds = 0.5  # of its stream that an agent reads before it is revoked
demo_cut_ms_max = 200.0  # the promised bound for the end of a revoked stream
demo_event_bytes_max = 4096  # the last event of a stream, a problem of half a KiB
demo_body_bytes_max = 2**20  # more than any agent of the story sends

# A worker (gateway/).
young_objects_max = 10_000  # made since the last search for reference cycles; about 2 MiB
grant_cache_entries_max = 4096  # grants with their header fields, or with their scope; 2 KiB each
peer_lines_per_second = 20  # of the audit, for refused connections of one listener; 6 MB an hour
recently_revoked_keys_max = 4096  # until handshakes under an older CRL are over; 0.5 MiB
certificate_overrun_seconds = 900  # a call may outlast its certificate by a token's life
peer_lines_burst = 200  # a fleet whose CA was changed
call_lines_max = 4096  # grants, tools and networks with a prepared audit line; 1 KiB each
request_ids_at_once = 256  # read from the kernel's random numbers in one call; 4 KiB
straight_body_bytes_max = 16_384  # of a request; at most two TLS records, mostly in one turn
straight_body_events_max = 256  # HTTP/2 frames after a head among which a worker looks for its body
straight_authorities_max = 256  # spellings of a listener's hosts whose routes are kept; 400 B each
origins_max = 4096  # clients with address and authority as sent upstream; 400 B each
attach_again_seconds = 0.1  # a restarted agent takes half a second; the table is fresh for 5
revocation_look_seconds = 0.02  # between scans of the table's generation, which miss no revocation
cut_memory_seconds = 2.0  # of calls that a scan cut before the push came, for the receipt
cuts_remembered = 4096  # such cuts, each with all that its token names; 12 MiB at most
reload_refused_seconds = 5.0  # until refused content is tried again: a named file may exist by then
reload_again_seconds = 0.5  # until a file is tried again that only the agent could load
drain_share = 0.8  # of the supervisor's patience; the rest is for ending the calls that are left
drain_last_seconds = 0.25  # for resets of calls that were cut, and for their records

# The client of `crewgate.mcp`; the SDK has the same two values.
mcp_client_seconds = 30.0  # to connect, to send, or to wait for a free connection
mcp_client_read_seconds = 300.0  # between two pieces of an answer: a tool may work for minutes
mcp_list_pages_max = 100  # of a list of tools; the SDK stops there too
mcp_session_end_seconds = 2.0  # to end sessions: one request for each; its branch ends with it
claude_calls_max = 4096  # between the hook and the call; those that Claude gives up are dropped
ended_branches_max = 4096  # whose revocation waits for a gateway: 4 a second until a token expires
