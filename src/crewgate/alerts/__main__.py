"""`python -m crewgate.alerts -c FILE`."""

import sys

from crewgate.runtime.cycle_collection import loading_modules

with loading_modules():
    from crewgate.alerts.main import main

sys.exit(main())
