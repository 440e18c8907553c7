"""The bounds of the live page (ui/)."""

# The live feed (ui/live/).
ui_read_seconds = 1.0  # between two readings of the tree: a person sees it move
ui_read_share = 0.5  # of the time that readings may take; a table that takes longer is read less
ui_linger_seconds = 15.0  # after the last watcher, until reading ends: a page that loads again
ui_health_seconds = 2.0  # between two readings of the machines' health, as they report it
ui_watchers_max = 64  # browsers at once: each holds a snapshot while it begins anew, 5 MB at most
ui_watchers_each_max = 8  # of one person: the tabs of two screens
ui_streams_per_second = 0.5  # that one person begins; each costs 10 ms for 10,000 branches
ui_streams_burst = 30  # all tabs of a person after a restart, some times
ui_watcher_updates_max = 4  # that wait for a slow watcher; with more, it begins anew
ui_piece_rows_max = 2000  # of a watcher that begins: half a megabyte, encoded within 5 ms
ui_changed_rows_max = 20_000  # in one update; for more, all watchers begin anew, in pieces
ui_chunk_bytes_max = 65_536  # that are sent at once, as `buffer_bytes_max`
ui_repeat_seconds = 1.5  # without an update, until a watcher gets an event that changes nothing

# What persons order and ask (ui/actions/, ui/branch_history.py).
ui_action_id_chars_max = 64  # of an id that a browser makes: a UUID has 36
ui_actions_max = 1024  # that are remembered by their ids, of a kilobyte each
ui_actions_per_second = 2.0  # of one person, who reads each receipt
ui_actions_burst = 30  # a list of branches that somebody ends one by one
ui_refusals_per_second = 1.0  # of one person for lack of a right, each a line of the audit
ui_refusals_burst = 30  # a page that was loaded before the rights changed
ui_action_threads_max = 4  # that ask the agent at once; each revocation may wait for other machines
ui_ca_seconds_max = 60.0  # for a process that revokes certificates, on a slow disk
ui_ca_processes_max = 2  # that revoke certificates at once, of 50 MB each
ui_persons_max = 4096  # whose rates are remembered; 200 bytes each
ui_history_rows_max = 200  # of each list of a branch's history: what a person scrolls through
ui_history_seconds = 7 * 86_400  # of the audit that a history is about: older files are not read
ui_replay_lines_max = 5000  # of one machine that the page steps through; an export has more
ui_questions_per_second = 1.0  # of one person, to the audits of all machines: a second of a core
ui_questions_burst = 10  # a person clicks through some branches
ui_documents_bytes_max = 64 * 2**20  # that one person's browsers have not read; one may be larger
ui_questions_of_one_max = 6  # of one person that run or wait, so that no person holds up all others
ui_questions_at_once_max = 2  # of all persons; a machine reads its audit for one at a time

# The alerts on the page (ui/live/).
ui_alerts_max = 200  # that a person gets, the newest ones
ui_alerts_kept_max = 2000  # of all crews, so that no crew takes the room of another
ui_alerts_seconds = 30.0  # between two questions about alerts: each machine starts a process
ui_alerts_seconds_min = 5.0  # after a rule has taken a step, or a person has acted
ui_budgets_seconds = 5.0  # between two looks at the budgets of all branches
ui_budget_alerts_max = 100  # about branches; crews may have thousands without credits
ui_away_seconds = 5.0  # without an answer, before a machine counts as away
