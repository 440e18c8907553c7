"""Runs the sidecar of one sub-agent: `python -m crewgate.sidecar DESCRIPTOR`; see `sub_agent`."""

import sys

from crewgate.runtime.cycle_collection import loading_modules
from crewgate.runtime.memory_protection import disable_dumping

# Before the other imports, which take a third of a second: a process of the same user could trace
# this one meanwhile.
disable_dumping()
with loading_modules():
    from crewgate.sidecar.sub_agent import main

if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
