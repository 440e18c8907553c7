"""The groups of the hop's bench, a file each; suite.py has their list."""
