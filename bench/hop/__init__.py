"""A request through each gateway, side by side; see "A hop" in README.md one folder above."""
