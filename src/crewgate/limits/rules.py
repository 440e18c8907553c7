"""Limits of the rules on branches (core/rules)."""

rules_max = 32  # with the built-in ones; each branch has a bit for each step of each
rule_limit_max = 2**40 - 1  # what the table counts at most in a minute, such as micro-credits
rule_equal_calls_max = 10_000  # the limit of a rule on equal calls; the table counts to 16,383
rule_pause_seconds = 600  # a model that takes longer for its next call has other work in between
rule_pause_seconds_max = 86_400  # a day
rule_retry_seconds_max = 86_400  # a day; an answer with a later Retry-After counts as with this
rule_uncounted_max = 3  # refused calls of a branch, after which the agent gives it a record
rule_open_again_calls = 100  # refused calls, after which it is asked again if it gave none
rule_end_again_seconds = 1.0  # until a worker asks the agent again to end a branch
rule_ends_max = 4096  # branches of which a worker remembers that; 150 bytes each
# Different calls of a branch that are remembered; four cache lines hold them with their counts.
rule_series_max = 6
rule_turns_max = 3  # different calls in turn that count as an alternation
volatile_members_max = 16  # of one tool
digested_bytes_max = 65_536  # of a body or an answer; a longer one has no digest
# Of `crewgate audit what-if`. A branch takes about 2 KiB, a call that is put in order about 1 KiB.
what_if_branches_max = 65_536  # as many as the table has by default
what_if_calls_max = 32_768  # put in order by their times: those of half a minute at 1,000 a second
what_if_steps_max = 10_000  # listed; all are counted
what_if_line_bytes_max = 65_536  # the longest line is that of a grant, some 16 KiB
