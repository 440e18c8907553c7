"""The bounds of extensions, the further grants of a branch, and of journals (issuer/)."""

branch_seconds_max = 3660 * 86_400  # of a branch's life: ten years
token_file_seconds = 30 * 86_400  # that a file is renewed, if the caller names no time: a month
extension_requests_burst = 20  # of one sub-agent at once; each is a line of 300 bytes
extension_requests_per_second = 0.1  # after the burst: a person who decides is not faster
extension_request_bytes_max = 8192  # its JSON: 64 tools and a reason
renewal_refused_seconds = 60.0  # until a gateway is asked again: a person may raise the limit
reason_chars_max = 500  # of a text for the journal: a sentence or two
journal_line_bytes_max = 65_536  # a grant of 64 tools has 8 KiB, and texts of old versions more
command_journal_seconds_max = 5.0  # that a command waits for another one, which writes one line
journal_branches_max = 262_144  # whose roles a reader of journals remembers; 300 bytes each
