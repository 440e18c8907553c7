"""Runs a worker process: `python -m crewgate.gateway`."""

import sys

from crewgate.runtime.cycle_collection import loading_modules

with loading_modules():
    from crewgate.gateway.worker.main import main

sys.exit(main())
