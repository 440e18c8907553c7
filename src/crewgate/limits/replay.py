"""The bounds of the replay of a recorded run (audit/replay)."""

replay_lines_max = 20_000  # of one machine: a person steps through some hundred
replay_lines_bytes_max = 12 * 2**20  # of one machine, in one answer; a browser takes ten such
replay_names_max = 300  # of users, keys and the like of a run, which other machines look for
replay_question_bytes_max = 50_000  # `replay_names_max` names of 128 characters, with their quotes
replay_page_bytes_max = 64 * 2**10  # of lines on a page of an answer, beside the names of its files
replay_checkpoint_bytes_max = 48 * 2**10  # of a checkpoint in an extract: some 300 audit files
replay_slack_seconds = 3600.0  # before a range, in which a grant of a call in it was recorded
replay_export_lines_bytes_max = 64 * 2**20  # of all machines; the file has thrice as many
replay_export_bytes_max = 256 * 2**20  # of a file that `verify-export` reads
replay_crews_max = 100  # of which one list has the runs: a hundred names fit a question
replay_runs_default = 100  # that a list of runs has
replay_runs_max = 1000  # of one machine, 1 KB each
replay_runs_page_max = 48  # on a page of an answer: eight texts of 128 characters each
