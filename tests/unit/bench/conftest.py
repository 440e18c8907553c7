"""Puts the project's root on the path: the bench is no part of the package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
