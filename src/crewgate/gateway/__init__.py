"""The gateway's worker: it receives requests, authorizes each call and forwards it to its tool.

`call/gateway.py` begins with the sequence of a call. `worker` is the process around it.
"""
