"""Runs a worker process: `python -m crewgate.gateway`."""

import sys

from crewgate.gateway.worker.main import main

sys.exit(main())
