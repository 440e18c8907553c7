"""The bounds of what stands between crews: certificates, control API, the watch over minting."""

# Certificates of the internal CA (ca/, core/x509/certificate.py).
ca_root_days = 3650  # its key is put away; a new root means new trust on every machine
ca_issuing_days = 1825  # half the root's life, so that it never outlives it
ca_server_days = 397  # the longest that browsers accepted from a public CA
certificate_life_seconds = 4 * 3600  # the mission's: what a revocation that nobody hears of costs
certificate_life_seconds_max = 7 * 86_400  # longer ones want another CA than this
gateway_life_seconds_max = ca_server_days * 86_400  # its clients take it for any server's
certificate_bytes_max = 16_384  # ours have 900; what a handshake takes of a chain is 100 KiB
chain_certificates_max = 8  # of one file; ours have two
certificate_parts_max = 64  # extensions, or attributes of a name; ours have eight and one
certificate_subject_chars_max = 256  # of a stranger's, in a log
certificate_hosts_max = 16  # names and addresses of a gateway
certificate_rights_max = 16  # names in an identity
request_pem_bytes_max = 16_384  # a CSR with an RSA key of 8,192 bits has 3 KiB
crl_renew_seconds = 3600  # signed anew so often, even if nothing was revoked
crl_seconds = 24 * 3600  # until its next update at the latest; without a fresh one all are refused
crl_warning_seconds = 6 * 3600  # before its next update: a night shift's time to sign another
crl_bytes_max = 64 * 2**20  # a million revoked certificates; ours would have expired long before
crl_number_max = 2**63 - 1  # of a list: the time in seconds, or one more than the last
crl_look_seconds = 0.25  # whether there is another list; a revocation says so at once
unwritten_bytes_max = 1 << 18  # some 2,500 revocations for the next process; room for two such
register_wait_seconds = 5.0  # for another process's transaction; one takes milliseconds
ocsp_life_seconds = 60  # of an answer: what an attacker who can replay one wins at most
ocsp_seconds_max = 2.0  # one check; a signature takes 0.1 ms, and a handshake has 10 s in all
ocsp_cached_seconds_max = 60.0  # of an answer good for longer; a push drops it sooner
ocsp_cached_max = 4096  # certificates a worker remembers, 1.2 KiB each
ocsp_doubt_seconds = 0.25  # a responder that failed is asked again: soon, and not by a whole herd
ocsp_trouble_seconds = 60.0  # a question that failed counts so long: workers ask anew within it
ocsp_queries_max = 16  # at once of one worker; a responder answers each in a millisecond
ocsp_request_bytes_max = 4096  # a question has 0.1 to 0.4 KiB, a signature with its chain 2 more
ocsp_response_bytes_max = 16_384  # ours have 900; one with a chain of RSA certificates has 6 KiB
ocsp_nonce_bytes = 32  # what a client sends (RFC 9654 §2.1)
ocsp_nonce_bytes_max = 128  # what a responder takes (RFC 9654 §2.1); RFC 8954 had 32
ocsp_url_chars_max = 256  # of the configuration
ocsp_responder_seconds = 7 * 86_400  # nobody can revoke it, so it is short
certificate_warning_days = 30  # four working weeks to renew it; a third of a shorter life
ca_warning_days = 180  # before the CA itself ends: a new root is new trust on every client
renewal_share = 0.6  # of a certificate's life: two fifths are left for attempts that fail
renewal_look_seconds = 5.0  # at the dates of certificates; of four hours it is nothing
renewal_again_seconds = 60.0  # after a renewal that failed; of the shortest life 96 such attempts
certificate_backdate_seconds = 300  # a virtual machine's clock after a pause

# The control API (api/, control/).
control_body_bytes_max = 65_536  # a CSR of 16 KiB in JSON; a form with a token of 4 KiB
ocsp_door_connections_max = 128  # of this machine: one a worker, and some questions
ocsp_head_bytes_max = 8192  # a line and four fields
control_threads_max = 4  # that ask the agent at once; as many more revoke, behind no question
control_connections_max = 1024  # of the API; an orchestrator has one, an operator a few
control_connections_of_one_max = 256  # of one address, so that it cannot keep all others out
control_calls_of_one_max = 32  # at once, of one holder of certificates: ten times a busy one's
control_drain_seconds = 1.0  # answers under way; none takes longer than asking the agent
control_end_seconds = 10.0  # of one that is told to end: a thread may be asking the agent for 5
control_again_seconds = 2.0  # a CA that cannot be used is tried again: its key may be there by now
remote_seconds_max = 5.0  # one question to another machine's control API, between two bytes
remote_list_seconds = 60.0  # between two looks at its list of the revoked
control_nice = 5  # below workers and agent: a flood of questions is not to delay verdicts
crew_revocations_burst = 1000  # of a crew by the API: a fleet that ends, one branch after the other
crew_revocations_per_second = 2  # from then on: a tenth of what one machine may tell in a day
tree_seconds = 1.0  # the agent's word on branches and readiness is told again for so long
orchestrators_max = 256  # whose journals are open for the token endpoint; the oldest is closed
tokens_burst = 2000  # of one orchestrator at the token endpoint: a fleet that starts
tokens_per_second = 20  # from then on, as many new sub-agents; each is a line of its journal
token_buckets_max = 4096  # orchestrators whose rate is remembered; 200 bytes each
certificates_per_hour_max = 60  # of one holder, who needs one in two hours
announce_again_seconds = 1.0  # an agent that was away may be back
announce_patience_seconds = 3.0  # the process that revoked tells the agent itself, for its receipt
form_fields_max = 16  # of a token request, which knows nine
page_rows_max = 1000  # of 400 bytes each; so many, if nobody asks for fewer

# Calls on a certificate (policy/certificate_tokens.py, verifier/peer_certificates.py).
crossings_max = 256  # pairs of crews; each is an account, as a crew is
crossing_tools_chars_max = 1024  # with the longest names beside them they fit a token of 4 KiB
peer_certificates_max = 4096  # that an embedder has shown and are remembered; 2 KiB each
crossing_tokens_max = 4096  # certificates whose calls are judged without a token; 3 KiB each

# The minting watch (core/anomaly/detector.py).
watch_orchestrators_max = 16_384  # of a machine; 2 KiB each, and half of them of one crew at most
watch_branches_max = 65_536  # remembered, as many as the table has by default; 0.3 KiB each
watch_branches_each_max = 4096  # of one orchestrator: a minute's look at all of them takes 1 ms
watch_branch_seconds = 3600  # after a branch's last grant: who pauses for longer begins anew
watch_memory_seconds = 86_400  # of a silent orchestrator, if another needs its place
watch_save_seconds = 600  # of lessons a kill may lose; they took an hour to learn
watch_look_names = 64  # looked at a second, 0.2 ms: all of them within five minutes
watch_strikes = 3  # minutes out of bounds: one is a burst, two a bad release, three go on
watch_strikes_max = 60  # an hour of it
watch_calm_seconds = 900.0  # a token's life: whoever is calm for so long has let its burst end
watch_calm_seconds_min = 60.0  # strikes are counted in minutes
watch_calm_seconds_max = 86_400.0  # whoever must be calm for longer is quarantined
quarantine_seconds = 86_400  # a night and a morning: somebody has looked at it by then
quarantine_seconds_min = 60  # as calm: less is no more than a throttle
quarantine_seconds_max = 7 * 86_400  # a week of holidays; who is to stay out for good is revoked
watch_extensions_max = 1_000_000  # of one branch: a year with one every half minute
watch_rows_max = 64  # that one answer tells; 400 bytes each
