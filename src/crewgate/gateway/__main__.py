"""`python -m crewgate.gateway`."""

import sys

from crewgate.gateway.main import main

sys.exit(main())
