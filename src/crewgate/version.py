"""The version of Crewgate; pyproject.toml and the release read it from here."""

__version__ = "0.2.0"
