"""The live page: shows a browser the branches of all machines, and does what a person orders.

`python -m crewgate.ui` is a process of its own, because the control process has the key of the CA.
It asks the agent of this machine, and the agent asks the others. Each request needs a session, and
a proof of the key of its browser: a cookie alone is worthless. A person sees and does only what the
configuration says.
"""
