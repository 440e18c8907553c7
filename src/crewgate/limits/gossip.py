"""The bounds of gossip: datagrams, capsules, dissemination, comparisons and membership."""

# Datagrams (core/gossip/messages.py): one message in each, and never a fragment.
gossip_datagram_bytes_max = 1200  # RFC 8200's smallest MTU of 1280, less the heads of IPv6 and UDP
gossip_seal_bytes = 44  # version, number of the key, nonce of 24 bytes and tag of 16 bytes
gossip_message_bytes_max = 1156  # what a datagram holds within its seal
gossip_ids_max = 57  # in one message, 20 bytes each
gossip_updates_max = 32  # of members in one message, 35 bytes each

# Capsules (core/gossip/capsules.py, capsule_store.py).
capsule_entries_max = 24  # 43 bytes each, so that a signed capsule fits in one datagram
capsule_epochs_max = 1024  # of one origin: restarts within a day, one in 84 seconds
capsule_lines_max = 64_000  # epochs of all origins: 64 of each of 1,000; their digests fit a frame
capsules_max = 2_000_000  # of all origins: twice the largest table, one revocation in each
capsules_each_max = 1_500_000  # of one origin, so that it leaves places for all others
capsule_conflicts_max = 1024  # capsules with the id of another one: an origin lies, or runs twice
capsule_expiry_seconds = 64  # a member forgets expired capsules in spans of this length
capsule_file_seconds = 3600  # of expiry times in one file of the log: 25 files for a day
capsule_piece_bytes = 1_048_576  # of a file that is read at once, beside the capsules in memory
capsule_files_max = 1024  # open at once: 42 days; only revocations of certificates live for so long
capsule_life_seconds_max = 400 * 86_400  # until the end of a gateway's certificate: 9,600 files

# Seals (gossip/datagram_crypto.py).
group_keys_max = 4  # the last one, the next one, and two that are on their way out
group_keys_coming_max = 2  # not yet in use: forged keys must not displace those in use
group_keys_spoilt_max = 64  # numbers that a member has given to two different keys
replay_window = 4096  # a datagram may be late by so many of its sender: 0.2 s at 20,000 a second
replay_boots_max = 64  # boots of a sender within the two hours in which a key is valid
group_key_seconds = 3600  # until the next key is made: bounds what a leaked key is worth
group_key_settle_seconds = 120  # until a new key is used: after twelve rounds of syncs all have it
group_key_turn_seconds = 5  # between two members that would make it, in the order of their ids
group_key_void_seconds = 10  # how long older keys stay valid after a key that ends them

# Members' certificates and streams (gossip/).
skew_max = 30  # seconds that the clocks of members may differ by
member_certificates_max = 16  # of one member: renewed every two hours, for more than a day
directory_files_max = 64  # written at once, each with an open descriptor; a sync takes 5 to 20 ms
gossip_frame_bytes_max = 4 * 2**20  # the ranges of 64 epochs of 1,000 origins, with many gaps
held_ranges_max = 200_000  # ranges of numbers, 11 bytes each, and 23 bytes for each line: one frame
gossip_list_bytes_max = 4_000_000  # a CRL in one frame: 130,000 revoked certificates
gossip_list_again_seconds = 60.0  # until a CRL that could not be stored is taken again
gossip_page_bytes = 262_144  # of capsules or certificates in one frame
gossip_frame_capsules = 1024  # read from the archive for one frame: a megabyte at most
gossip_step_capsules = 64  # taken in one step: 1 ms, and 60 µs for each that no later capsule names
gossip_streams_max = 64  # at once, from other members; as many more may be in their handshakes
# Of one certificate: one for a sync, one to find its configured peer, and its questions.
gossip_streams_each_max = 4
gossip_handshakes_each_max = 16  # of one address: a quarter, though some members may share one
gossip_hello_seconds = 5.0  # from the connection to the first message, handshake included
gossip_silence_seconds = 5.0  # between two pages; a page takes a tenth of a second to make
gossip_sync_seconds = 120.0  # one whole sync: a million capsules take half a minute
gossip_syncs_max = 4  # started by this machine, at once
join_seconds = 1.0  # between attempts to reach the configured peers while none has answered
join_seconds_max = 30.0  # the same while members are reachable: names are resolved again
strange_seconds = 1.0  # between syncs because of datagrams that this machine cannot decrypt
sync_pause_seconds = 0.2  # between two syncs with one member, whatever their reason
gossip_receive_bytes = 8 * 2**20  # of datagrams that wait: a third of a second of a storm
datagrams_step_max = 64  # read in one step: a storm must not keep other tasks waiting
foreign_records_per_second = 50  # remote revocations in the audit, 20 KB; the rest is only counted
remote_quarantines_max = 4096  # remote orders on orchestrators without a grant here since then
quarantine_announcements_burst = 24  # of one machine's watch at once: they fit one capsule
quarantine_announcement_seconds = 60.0  # after the burst, one in this time: 1,500 a day
gossip_alarms_burst = 10  # log lines on capsules that contradict others or find no place
gossip_alarms_per_second = 1 / 60  # after the burst: an origin that signs a million fills no disk
member_log_lines_burst = 10  # log lines on members that come and go, one after another
member_log_lines_per_second = 1 / 60  # after the burst: one that flaps is a line a minute
members_named_max = 8  # in one line of a log or a status; the others are only counted

# Dissemination (core/gossip): simulated for 1,000 machines with a fifth of all datagrams lost.
spread_eager_peers = 5  # at once: 99 % of 1,000 machines have a capsule after five hops
spread_repeats = 6  # to other peers each time: one of these reaches those that the first missed
spread_repeat_peers = 4  # of each repeat: 29 datagrams for each machine and capsule in all
spread_repeat_seconds = 0.02  # so that the last repeat leaves after an eighth of a second
spread_jitter = 0.25  # of the pause, to both sides: machines must not send in step
spread_origin_peers = 64  # that an origin sends to itself; all, since one way can take tens of ms
spread_few_peers = 4  # with no more peers, a new capsule is sent again at once: datagrams are cheap
spread_few_seconds = (0.003, 0.007, 0.012)  # pauses before each; few peers cannot offset a loss
hot_seconds = 1.0  # for so long, members announce the ids of new capsules
hot_interval_seconds = 0.05  # a quarter of the promised 200 ms
hot_peers = 2  # of each announcement: forty chances to learn of a capsule in its second
hot_messages_max = 4  # of each announcement: 228 ids, 4,500 a second
egress_bytes_per_second = 12_500_000  # a tenth of a gigabit link
egress_burst_seconds = 0.25  # of budget that may leave at once: 3 MB, which network cards queue
egress_whole = 0.5  # above this share of the budget, repeats are capsules to all their peers
egress_thin = 0.25  # above this share, repeats are capsules to one peer
egress_ids = 0.05  # above this share, repeats are ids; below, only new capsules and hot ids leave

# Anti-entropy (core/gossip/protocol.py).
want_again_seconds = 0.03  # until a missing id is asked of another member: two ways and a loss
wants_max = 16_384  # ids that are asked for and have not come
sync_seconds = 10.0  # between full comparisons with some member, even without a mismatch
sync_quiet_seconds = 1.5  # a mismatch counts once nothing new has come for so long

# Comparisons and acknowledgements (core/gossip/anti_entropy.py, acknowledgements.py).
accepted_max = 65_536  # ids of the last accepted capsules: two minutes of 500 a second
answer_ids_max = 55  # of one answer, 20 bytes each, beside its head of 46
compare_seconds = 1.0  # between two questions to one member, at most
compare_times = 5  # questions within the allowed staleness: one or two lost ones refuse no calls
compare_members_each = 500  # questions a second, however many members there are
compare_again_seconds = 0.2  # until an unanswered question is repeated: WANs take 0.1
compare_questions_max = 16  # unanswered, to one member: for ways of up to three seconds
compare_pages_max = 20  # of ids in answers; a member that lacks more syncs over a stream
compare_heads_max = 8  # questions to one member whose answers are not yet complete
settled_max = 4096  # ids of capsules that were judged and not kept: nobody asks for them again
receipts_max = 1024  # revocations whose acknowledgements somebody waits for
checks_max = 4096  # ids that other members want to hear of once they are on the disk
receipt_answer_seconds = 1.0  # how long a member's answer counts; it is asked five times meanwhile
check_again_seconds = (0.02, 0.05, 0.1, 0.2)  # pauses before a check is repeated; the last recurs

# Membership (core/gossip/membership.py): SWIM (Das, 2002) with Lifeguard (Dadgar, 2018).
gossip_members_max = 4096  # four times as many as the simulation has
probe_seconds = 0.5  # between two probes by a member, each of another member
probe_answer_seconds = 0.15  # until other members are asked to probe it too: WANs take 0.06
probe_helpers = 3  # with a fifth of all datagrams lost, one probe in thirteen fails all the same
suspect_seconds = 4.0  # with 10 members; times the log10 of the number of members
suspect_probes = 4  # extra probes of a suspect, one after another, before its next turn
health_max = 8  # a member whose own probes fail is up to so many times as patient (Lifeguard)
update_sendings = 4  # of each update, times the number of digits of the number of members
dead_probe_seconds = 5.0  # between probes of dead members, one member at a time
dead_seconds_max = 86_400.0  # how long a dead member is probed: a partition may last a night
relays_max = 1024  # probes for others that are under way
incarnation_max = 2**48  # nobody refutes as often; above it nobody could refute a liar

# Freshness, and the peers to join by, as configured (config/cluster.py).
cluster_peers_max = 64  # names or addresses to join by; one that answers names all others
staleness_seconds = 5.0  # how late a revocation can be: ten probes, so a loss goes unnoticed
staleness_seconds_min = 1.0  # two probes: one lost probe must not refuse all calls
staleness_seconds_max = 60.0  # a leaked token stays valid for at most a minute longer
