"""A2A endpoints: what a request uses, how it is forwarded, and what of its answer the client gets.

`endpoint` has what the configuration says of an endpoint, `judging` reads a request and finds the
method that the gate judges, `responses` has what changes on the way back. `gateway.call` then takes
the call through its five steps like any other.
"""
