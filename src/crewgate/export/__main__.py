"""`python -m crewgate.export -c FILE`."""

import sys

from crewgate.runtime.cycle_collection import loading_modules

with loading_modules():
    from crewgate.export.main import main

sys.exit(main())
