"""The load test of `crewgate bench`: a client that loads a gateway, and its results.

It knows gateways by their URL only. Times are seconds; results are in milliseconds.
"""
