"""The bounds of certificates, the control API, calls between crews and the minting watch."""

# Certificates of the internal CA (ca/, core/x509/certificate.py).
ca_root_days = 3650  # its key is put away; a new root needs new trust on every machine
ca_issuing_days = 1825  # half the root's life, so that it never outlives the root
ca_server_days = 397  # the longest that browsers accepted from a public CA
certificate_life_seconds = 4 * 3600  # bounds what a revocation that no machine receives can cost
certificate_life_seconds_max = 7 * 86_400  # for longer ones, another CA than this fits better
gateway_life_seconds_max = ca_server_days * 86_400  # clients take a gateway for any other server
certificate_bytes_max = 16_384  # ours have 900; a TLS handshake takes 100 KiB for a whole chain
chain_certificates_max = 8  # in one file; ours have two
certificate_parts_max = 64  # extensions, or attributes of a name; ours have eight and one
certificate_subject_chars_max = 256  # an unauthenticated client's text in a log
certificate_hosts_max = 16  # names and addresses of a gateway
certificate_rights_max = 16  # names of rights in an identity
request_pem_bytes_max = 16_384  # a CSR with an RSA key of 8,192 bits has 3 KiB
crl_renew_seconds = 3600  # between two CRLs, even if nothing was revoked
crl_seconds = 24 * 3600  # until the next update at the latest; an expired CRL refuses all clients
crl_warning_seconds = 6 * 3600  # before the next update: a night shift's time to sign another CRL
crl_bytes_max = 64 * 2**20  # a million revoked certificates; ours would have expired long before
crl_number_max = 2**63 - 1  # a CRL's number: the time in seconds, or one more than the last number
crl_look_seconds = 0.25  # between checks for a new CRL; a revocation also announces one at once
unwritten_bytes_max = 1 << 18  # 2,500 revocations kept for the next process; the file has two slots
register_wait_seconds = 5.0  # for another process's transaction; one takes milliseconds
ocsp_life_seconds = 60  # of an answer: how long an attacker can profit from a replay
ocsp_seconds_max = 2.0  # one check; a signature takes 0.1 ms, and a handshake has 10 s in all
ocsp_cached_seconds_max = 60.0  # even if an answer is valid for longer; a push drops it sooner
ocsp_cached_max = 4096  # certificates that a worker remembers, 1.2 KiB each
ocsp_doubt_seconds = 0.25  # until a failed responder is asked again: soon, and not by all at once
ocsp_trouble_seconds = 60.0  # how long health shows a failed question; workers ask again within it
ocsp_queries_max = 16  # at once in one worker; a responder answers each in a millisecond
ocsp_request_bytes_max = 4096  # a question has 0.1 to 0.4 KiB; a signature with its chain adds 2
ocsp_response_bytes_max = 16_384  # ours have 900; one with a chain of RSA certificates has 6 KiB
ocsp_nonce_bytes = 32  # in a client's request (RFC 9654 §2.1)
ocsp_nonce_bytes_max = 128  # that a responder must accept (RFC 9654 §2.1); RFC 8954 had 32
ocsp_url_chars_max = 256  # in the configuration
ocsp_responder_seconds = 7 * 86_400  # short, since nobody can revoke this certificate
certificate_warning_days = 30  # four working weeks to renew it; a third of a shorter life
ca_warning_days = 180  # before the CA itself ends: a new root needs new trust on every client
renewal_share = 0.6  # of a certificate's life; two fifths are left for attempts that fail
renewal_look_seconds = 5.0  # between checks of the certificates' dates; little against four hours
renewal_again_seconds = 60.0  # after a failed renewal; the shortest life has time for 96 attempts
certificate_backdate_seconds = 300  # a virtual machine's clock can be behind after a pause

# The control API (api/, control/).
control_body_bytes_max = 65_536  # a CSR of 16 KiB in JSON; a form with a token of 4 KiB
ocsp_door_connections_max = 128  # from this machine: one for each worker, and some checks by people
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

# Calls on a certificate (policy/certificate_tokens.py, verifier/peer_certificates.py).
crossings_max = 256  # pairs of crews; each is an account, as a crew is
crossing_tools_chars_max = 1024  # with the longest names beside them they fit a token of 4 KiB
peer_certificates_max = 4096  # shown to an embedder and remembered; 2 KiB each
crossing_tokens_max = 4096  # certificates whose calls need no token; 3 KiB each

# The minting watch (core/anomaly/detector.py).
watch_orchestrators_max = 16_384  # on a machine, at most half of them of one crew; 2 KiB each
watch_branches_max = 65_536  # remembered, as many as the table has by default; 0.3 KiB each
watch_branches_each_max = 4096  # of one orchestrator: the check of all of them takes 1 ms a minute
watch_branch_seconds = 3600  # after a branch's last grant; after a longer pause it counts as new
watch_memory_seconds = 86_400  # of an idle orchestrator, if another one needs its place
watch_save_seconds = 600  # of learning that a kill may lose; a baseline takes an hour
watch_look_names = 64  # checked per second, 0.2 ms: all of them within five minutes
watch_strikes = 3  # minutes out of bounds: one is a burst, two a bad release, three go on
watch_strikes_max = 60  # an hour of them
watch_calm_seconds = 900.0  # a token's life: after it, the tokens of a burst have ended
watch_calm_seconds_min = 60.0  # strikes are counted in minutes
watch_calm_seconds_max = 86_400.0  # an orchestrator that must be calm for longer is quarantined
quarantine_seconds = 86_400  # a night and a morning: a person has looked at it by then
quarantine_seconds_min = 60  # as for calm: less is no more than a throttle
quarantine_seconds_max = 7 * 86_400  # a week of holidays; to end one for good, revoke it
watch_extensions_max = 1_000_000  # of one branch: a year with one every half minute
watch_rows_max = 64  # in one answer; 400 bytes each
