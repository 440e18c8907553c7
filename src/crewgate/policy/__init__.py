"""From a configuration and the files that it names to what a gate judges by."""
