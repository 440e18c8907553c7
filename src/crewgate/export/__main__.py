"""`python -m crewgate.export -c FILE`."""

import sys

from crewgate.export.main import main

sys.exit(main())
