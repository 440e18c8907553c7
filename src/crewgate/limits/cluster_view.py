"""The bounds of what a person asks about the whole cluster: branches, and what is revoked."""

branch_beginning_chars_min = 4  # of an id: one in 65,536 has the same, and a person types no fewer
branch_candidates_max = 16  # that an error lists, a line each; for more, a longer beginning
revocation_rows_default = 50  # as `audit_rows_default`
revocation_rows_max = 10_000  # of one machine in one list: 4 MB
revocation_page_rows_max = 32  # of 2.7 KB at most: they fit a frame of a unix socket
remote_revocations_max = 16_384  # of other machines, the newest, whose origin is kept: 4 MB
