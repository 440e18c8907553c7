"""What one run did, step by step, from the audit of all machines; and a file that proves it.

`extract` finds the lines of a run on one machine, and has the machine sign them. `run_replay` asks
all machines. `timeline` says what each branch had spent at each step. `html` writes all of it into
one file, and `verification` verifies such a file without the audit.
"""
