"""Runs the agent as `python -m crewgate.agent`."""

import sys

from crewgate.runtime.cycle_collection import loading_modules

with loading_modules():
    from crewgate.agent.main import main

sys.exit(main())
