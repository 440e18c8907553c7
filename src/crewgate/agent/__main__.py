"""Runs the agent as `python -m crewgate.agent`."""

import sys

from crewgate.agent.main import main

sys.exit(main())
