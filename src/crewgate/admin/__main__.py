"""`python -m crewgate.admin -c FILE`."""

import sys

from crewgate.runtime.cycle_collection import loading_modules

with loading_modules():
    from crewgate.admin.main import main

sys.exit(main())
