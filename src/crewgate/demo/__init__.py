"""The incident of the design, replayed on a real gateway by real processes."""
