"""Builds the gate's policy from a configuration and the files that it names."""
