"""The bounds of the control API (api/, control/)."""

control_body_bytes_max = 65_536  # a CSR of 16 KiB in JSON; a form with a token of 4 KiB
ocsp_socket_connections_max = 128  # one for each local worker, and some checks by people
ocsp_head_bytes_max = 8192  # a line and four fields
control_threads_max = 4  # that ask the agent at once; as many others revoke and never wait for them
control_connections_max = 1024  # to the API; an orchestrator has one, an operator a few
control_connections_of_one_max = 256  # from one address, so that it cannot keep out all others
control_calls_of_one_max = 32  # at once, of one certificate holder: ten times a busy one's
control_drain_seconds = 1.0  # for answers under way; none takes longer than asking the agent
control_end_seconds = 10.0  # for a process that must end: a thread may ask the agent for 5 s
control_again_seconds = 2.0  # until an unusable CA is tried again: its key may be there by then
remote_seconds_max = 5.0  # for another machine's control API, between two bytes
remote_list_seconds = 60.0  # between two downloads of another machine's CRL
remote_list_retry_seconds = 1.0  # after a failed download, while this machine starts
control_nice = 5  # below workers and agent: a flood of questions must not delay verdicts
crew_revocations_burst = 1000  # of a crew by the API: a fleet ends one branch after another
crew_revocations_per_second = 2  # after the burst: a tenth of what one machine may gossip in a day
tree_seconds = 1.0  # the API repeats the agent's answer on branches and readiness for so long
orchestrators_max = 256  # whose journals are open for the token endpoint; the oldest is closed
tokens_burst = 2000  # of one orchestrator at the token endpoint: a fleet that starts
tokens_per_second = 20  # after the burst: as many new sub-agents, each a line in its journal
token_buckets_max = 4096  # orchestrators whose rate is remembered; 200 bytes each
certificates_per_hour_max = 60  # of one holder, who needs one in two hours
announce_again_seconds = 1.0  # an unavailable agent may be back
announce_patience_seconds = 3.0  # the revoking process tells the agent itself, for its receipt
form_fields_max = 16  # of a token request, which has nine known fields
page_rows_max = 1000  # 400 bytes each; this many if the request names no number
