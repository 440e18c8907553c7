"""The bounds of what machines tell one another: datagrams, capsules, spread, members."""

# Datagrams (core/gossip/messages.py): one message each, and never a fragment.
gossip_datagram_bytes_max = 1200  # RFC 8200's least MTU of 1280, less the heads of IPv6 and UDP
gossip_seal_bytes = 44  # version, key's number, nonce of 24 and tag of 16 bytes
gossip_message_bytes_max = 1156  # what is left of a datagram within its seal
gossip_ids_max = 57  # of one message, 20 bytes each
gossip_updates_max = 32  # of members in one message, 35 bytes each

# Capsules (core/gossip/capsules.py, archive.py).
capsule_entries_max = 24  # of 43 bytes, so that a signed capsule fits in one datagram
capsule_epochs_max = 1024  # of one origin: restarts within a day, one each 84 seconds
capsule_lines_max = 64_000  # epochs of all origins: 64 of a thousand; a frame holds digests of all
capsules_max = 2_000_000  # of all: twice the largest table, each with one revocation
capsules_each_max = 1_500_000  # of one origin, which must not take the places of all others
capsule_conflicts_max = 1024  # capsules of an id that another has: an origin lies, or runs twice
capsule_expiry_seconds = 64  # they are forgotten by spans of so long, after they expire
capsule_file_seconds = 3600  # of expiry times in one file of the log: 25 files for a day
capsule_piece_bytes = 1_048_576  # of a file that is read at once, beside what is held anyway
capsule_files_max = 1024  # open at once: 42 days; no entry but a certificate's lives for so long
capsule_life_seconds_max = 400 * 86_400  # until its end, a gateway's certificate's: 9,600 files

# Seals (gossip/datagram_crypto.py).
group_keys_max = 4  # the last, the next, and two that are on their way out
group_keys_coming_max = 2  # of them, not in use yet: made-up ones must not drive out those that are
group_keys_spoilt_max = 64  # numbers that somebody gave to two keys
replay_window = 4096  # datagrams of a sender that one may be late by: 0.2 s of 20,000 a second
replay_boots_max = 64  # lives of a sender, within the two hours that a key opens
group_key_seconds = 3600  # then the next one is made: what one that leaked is good for
group_key_settle_seconds = 120  # until a new one is used: twelve rounds of syncs tell all of it
group_key_turn_seconds = 5  # between two members, in the order of their ids, who would make it
group_key_void_seconds = 10  # older keys still open for so long once there is one that ends them

# Members' certificates and streams (peers/).
skew_max = 30  # seconds that clocks of members may differ by
member_certificates_max = 16  # of one: renewed every two hours, for a day and more
directory_files_max = 64  # written at once, each an open descriptor: a sync costs 5 to 20 ms
gossip_frame_bytes_max = 4 * 2**20  # the ranges of 64 epochs of 1,000 origins, with many gaps
held_ranges_max = 200_000  # of numbers, 11 bytes each, beside 23 for each of all lines: one frame
gossip_list_bytes_max = 4_000_000  # of the list of the revoked, in one frame: 130,000 of them
gossip_list_again_seconds = 60.0  # a list that could not be kept is not taken again before
gossip_page_bytes = 262_144  # of capsules, or certificates, in one frame
gossip_frame_capsules = 1024  # read out of the archive for one frame: a megabyte at most
gossip_step_capsules = 64  # taken in one step: 1 ms; 60 µs more for each that none names
gossip_streams_max = 64  # at once, from others; and as many whose handshake is not over
gossip_streams_each_max = 2  # of one certificate: it syncs with us, and finds us as its peer
gossip_handshakes_each_max = 16  # of one address: a quarter, though some members may share one
gossip_hello_seconds = 5.0  # from the connection to its first words, handshake included
gossip_silence_seconds = 5.0  # between two pages: one is made in a tenth of a second
gossip_sync_seconds = 120.0  # one sync, all of it: a million capsules take half a minute
gossip_syncs_max = 4  # that we begin, at once
join_seconds = 1.0  # between two tries to reach configured peers, when none has answered,
join_seconds_max = 30.0  # and when all is well: names are resolved again
strange_seconds = 1.0  # between two syncs because of datagrams that nobody here can open
sync_pause_seconds = 0.2  # between two syncs with one member, whatever asks for them
gossip_receive_bytes = 8 * 2**20  # of datagrams that wait: a third of a second of a storm
datagrams_step_max = 64  # read in one step: a storm must not keep others waiting
foreign_records_per_second = 50  # revocations of others in the audit, 20 KB; the rest is counted
quarantines_heard_max = 4096  # words on orchestrators of whom no grant was seen here since
quarantines_told_burst = 24  # that the watch of one machine tells others of at once: one capsule,
quarantines_told_seconds = 60.0  # then one in so long: 1,500 a day, of two million that all keep
gossip_alarms_burst = 10  # lines of the log on capsules that contradict another or find no room:
gossip_alarms_per_second = 1 / 60  # who signs a million of those must not fill a disk
member_words_burst = 10  # times that a person is told of members who come and go, one after another
member_words_per_second = 1 / 60  # and then: one that does so all day is a line a minute
members_named_max = 8  # in one line of a log or a status; the rest is counted

# Dissemination (core/gossip): simulated for 1,000 machines with a fifth of all datagrams lost.
spread_eager_peers = 5  # at once: 99 % of 1,000 machines have it after five hops
spread_repeats = 6  # to others each time: whom the first sending missed, one of these reaches
spread_repeat_peers = 4  # of each repeat: 29 datagrams a machine and capsule in all
spread_repeat_seconds = 0.02  # so that the last repeat is out after an eighth of a second
spread_jitter = 0.25  # of the pause, to either side: machines must not send in step
spread_origin_peers = 64  # that an origin tells itself; all, where one way takes tens of ms
spread_few_peers = 4  # who has no more gets what is new again at once: datagrams are cheap there,
spread_few_seconds = (0.003, 0.007, 0.012)  # and no crowd of others makes up for a lost one
hot_seconds = 1.0  # for so long the ids of what is new are told to others
hot_interval_seconds = 0.05  # a quarter of the promised 200 ms
hot_peers = 2  # of each telling: forty chances to hear of it in its second
hot_messages_max = 4  # of each telling: 228 ids, 4,500 a second
egress_bytes_per_second = 12_500_000  # a tenth of a gigabit link
egress_burst_seconds = 0.25  # of them may go at once: 3 MB, which network cards' queues hold
egress_whole = 0.5  # while more than half is left, repeats are capsules, each to all its peers,
egress_thin = 0.25  # then to one,
egress_ids = 0.05  # then ids; and beyond that only what is new, and the hot ids, are sent

# Anti-entropy (core/gossip/protocol.py).
want_again_seconds = 0.03  # an id is asked of another if it has not come: two ways and a loss
wants_max = 16_384  # ids that were asked for and have not come
sync_seconds = 10.0  # all is compared with somebody so often, mismatch or not
sync_quiet_seconds = 1.5  # a mismatch counts once nothing new has come for so long

# Comparisons and receipts (core/gossip/anti_entropy.py, receipts.py).
accepted_max = 65_536  # ids of what was accepted last: two minutes of 500 a second
answer_ids_max = 55  # of one answer, 20 bytes each, beside its head of 46
compare_seconds = 1.0  # between two questions to one member, or less:
compare_times = 5  # in what staleness may be, so that a lost one or two refuse nobody
compare_members_each = 500  # questions a second, however many members there are
compare_again_seconds = 0.2  # a question without an answer is followed by another: WANs take 0.1
compare_questions_max = 16  # to one member that may still be answered: ways of up to three seconds
compare_pages_max = 20  # of ids in answers; who lacks more syncs over a stream
compare_heads_max = 8  # questions to one member whose answers are not complete yet
settled_max = 4096  # ids of capsules that were judged and not kept: they are not asked for again
receipts_max = 1024  # revocations that somebody waits to be told of
checks_max = 4096  # ids that somebody is told of once they are on the disk
receipt_word_seconds = 1.0  # what a member said counts so long: it is asked five times meanwhile
check_again_seconds = (0.02, 0.05, 0.1, 0.2)  # a check without an answer; the last, again and again

# Membership (core/gossip/membership.py): SWIM (Das et al. 2002), Lifeguard (Dadgar et al. 2018).
gossip_members_max = 4096  # four times what is simulated
probe_seconds = 0.5  # between two probes of a member, each of another one
probe_answer_seconds = 0.15  # then others are asked to probe it too: WANs take 0.06
probe_helpers = 3  # with a fifth of all datagrams lost, one probe in thirteen fails all the same
suspect_seconds = 4.0  # at 10 members; times log10 of how many there are
suspect_probes = 4  # more of a suspect, one after the other, before it is its turn again
health_max = 8  # times as patient is a member whose own probes go wrong (Lifeguard)
update_sendings = 4  # of each update, times the digits of how many members there are
dead_probe_seconds = 5.0  # one of the dead is probed so often,
dead_seconds_max = 86_400.0  # for a day: a partition may last a night
relays_max = 1024  # probes for others that are under way
incarnation_max = 2**48  # nobody refutes as often; a liar could not be refuted above it

# Freshness, and who is joined, as they are configured (config/cluster.py).
cluster_peers_max = 64  # names or addresses to join by; one that is there tells of all others
staleness_seconds = 5.0  # a revocation takes as long at most; ten probes, so that no loss is felt
staleness_seconds_min = 1.0  # two probes: one that is lost must not refuse everybody
staleness_seconds_max = 60.0  # a leaked token is good for no more than a minute longer
