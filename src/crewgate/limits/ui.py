"""The bounds of the live page (ui/)."""

# The live feed (ui/live/).
ui_read_seconds = 1.0  # between two readings of the tree: a person sees it move
ui_read_share = 0.5  # of the time that readings may take; a table that takes longer is read less
ui_health_seconds = 2.0  # between two readings of the machines' health, as they report it
ui_watchers_max = 64  # browsers at once: each holds a snapshot while it begins anew, 5 MB at most
ui_watchers_each_max = 8  # of one person: the tabs of two screens
ui_watcher_updates_max = 4  # that wait for a slow watcher; with more, it begins anew
ui_piece_rows = 2000  # of a watcher that begins: half a megabyte, encoded within 5 ms
ui_changed_rows_max = 20_000  # in one update; for more, all watchers begin anew, in pieces
ui_chunk_bytes = 65_536  # that are sent at once, as `buffer_bytes_max`
ui_session_seconds = 2.0  # without an update, until the session of a watcher is looked up again
