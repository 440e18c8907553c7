"""The rules of Crewgate, without clock, socket, file or randomness: callers pass in all input.

Each sub-package is one domain. All are tested against simple models and in simulations.
"""
