"""The control API: a Starlette application, and the adapter that runs it on our own server.

`endpoints` declares each path with its schemas; `openapi` describes them. The application does
nothing itself: it asks the `Backend` that `control` hands to it.
"""
