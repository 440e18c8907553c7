"""Makes the completion scripts of bash, zsh and fish from the commands.

A script holds all commands, options and choices as text, because a start of `crewgate` for each key
that a person presses would take too long. Names of crews and tools come from the headings of the
configuration that the command line names with `-c`. The script runs none of its text.
"""
