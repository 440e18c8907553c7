"""The control API: a Starlette application, and the adapter that runs it on Crewgate's server.

`endpoints` declares each path with its schemas, and `openapi` describes them. `access` decides who
may do what. The `Backend`, which `control` implements, does the work.
"""
