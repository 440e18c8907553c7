"""`python -m crewgate.control -c FILE`."""

import sys

from crewgate.control.main import main

sys.exit(main())
