"""`python -m crewgate.control -c FILE`."""

import sys

from crewgate.control.main import main

if __name__ == "__main__":
    sys.exit(main())
