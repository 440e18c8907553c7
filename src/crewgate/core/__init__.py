"""Pure rules: no clock, socket, file or randomness. Callers pass in what the rules need.

Each sub-package is one domain. All of them are tested against simple models and in simulations.
"""
