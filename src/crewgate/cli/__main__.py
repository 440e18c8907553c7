"""`python -m crewgate.cli`: the `crewgate` command where no script of that name is on the path."""

from crewgate.cli import main

main(prog_name="crewgate")
