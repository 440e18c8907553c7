"""The bounds of what a person asks about the whole cluster: branches, and what is revoked."""

branch_beginning_chars_min = 4  # of an id: one in 65,536 has the same, and a person types no fewer
branch_candidates_max = 16  # that an error lists, a line each; for more, a longer beginning
revocation_rows_default = 50  # as `audit_rows_default`
revocation_rows_max = 10_000  # of one machine in one list: 4 MB
revocation_page_rows_max = 32  # of 2.7 KB at most: they fit a frame of a unix socket
remote_revocations_max = 16_384  # of other machines, the newest, whose origin is kept: 8 MB

# Questions to other machines, for a person (gossip/member_questions.py, agent/cluster/).
member_question_bytes_max = 65_536  # a thousand keys of 16 bytes, three times
member_page_bytes_max = 98_304  # it fits a frame of a unix socket, with the name of the machine
member_page_rows_max = 40  # branches on such a page, of 2.2 KB at most
member_answer_bytes_max = 16 * 2**20  # of one machine: 16,384 branches of a kilobyte
members_answers_bytes_max = 256 * 2**20  # of all machines to one question, in one process
member_tree_rows_max = 16_384  # branches of one machine; it leaves out those that have ended first
call_totals_max = 4096  # of crews and tools, of one machine; 500 bytes each with the longest names
call_totals_page_max = 128  # on a page that fits `member_page_bytes_max`
member_answer_seconds_max = 2.0  # of one machine: 5 ms, and a second for a table that is full
member_absent_seconds_max = 0.5  # the same for a machine that answers no probe
members_asked_at_once = 16  # by all commands of a machine, each with a handshake: 2 ms of a core
members_answer_seconds_max = 4.0  # of all machines; a command waits for 5
member_questions_each_max = 2  # at once, from one machine to another: syncs need streams too
member_questions_per_second = 10.0  # that a machine answers; `top` on ten machines asks so often
member_questions_burst = 40  # of several people at once
member_answers_at_once = 2  # being made: each takes a thread
revocation_keys_max = 1024  # in one question: those that one list shows
audit_question_bytes_max = 16_384  # of filters in JSON: eight texts of 128 characters
member_audit_seconds_max = 10.0  # of one machine: a second for a gigabyte of audit, on one core
members_audit_seconds_max = 12.0  # of all machines
member_audit_rows_max = 5_000  # of one machine in one listing: 1.5 KB each fit an answer
member_audit_page_rows_max = 24  # of 4 KB at most: eight ancestors and twenty texts
member_audits_at_once = 1  # being read on a machine: each takes a core, at a low priority
member_audit_mib_max = 512  # of the engine that reads them; a question that needs more fails
member_alerts_max = 200  # of one machine: what a person on call reads
member_alerts_page_max = 10  # of them on a page, of 8 KB at most each
member_alert_bytes_max = 8192  # of one: two texts of a thousand characters, and names of branches
member_alert_seconds = 86_400  # that alerts from the audit go back: since yesterday's shift
member_alert_records_max = 10_000  # that are kept while others are read, of 5 KB each
member_alert_file_bytes_max = 16 * 2**20  # read of the end of each audit file
member_alert_folder_bytes_max = 128 * 2**20  # read of all of them: 0.2 s of a core
subject_runs_burst = 10  # revoked subjects at once whose runs are asked for: a person revokes few
subject_runs_per_second = 1.0  # after the burst: a tenth of `member_questions_per_second`
subject_runs_max = 4096  # of one subject that one machine names, 18 bytes each
member_runs_seconds_max = 0.7  # for this answer, while a revocation waits for the disks of others
members_runs_seconds_max = 0.9  # for all of them: a revocation waits for a second

# Of who follows the tree of all machines from second to second (ipc/tree_changes.py).
tree_changes_rows_max = 2 * member_tree_rows_max  # of one machine: the crews come on top
tree_amount_max = 2**56  # of micro-credits: sums over 256 machines stay below 2**64
tree_cursor_chars_max = 64  # where an answer ends: 16 digits that are random, and a count
tree_cursors_max = 256  # of one question, half a frame; further machines answer with all branches
tree_gone_page_max = 128  # names of branches that ended on a page, of 260 characters each
tree_page_rows_max = 256  # of any version of a machine: an object in memory is as large as a row
tree_pages_max = 2048  # of one machine: four times as many as `member_tree_rows_max` needs
tree_row_bytes_max = 8192  # of one row: nine names of 128 characters, and eight machines
