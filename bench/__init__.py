"""Measures Crewgate's decisions and its table; see README.md beside this file."""
