"""`python -m crewgate.ui -c FILE`."""

import sys

from crewgate.runtime.cycle_collection import loading_modules

with loading_modules():
    from crewgate.ui.main import main

sys.exit(main())
