"""`python -m crewgate.control -c FILE`."""

import sys

from crewgate.runtime.cycle_collection import loading_modules

with loading_modules():
    from crewgate.control.main import main

sys.exit(main())
