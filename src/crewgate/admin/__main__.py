"""`python -m crewgate.admin -c FILE`."""

import sys

from crewgate.admin.main import main

sys.exit(main())
