"""`python -m crewgate.cli`: the `crewgate` command, if no script of that name is on the path."""

from crewgate.cli import main

main(prog_name="crewgate")
