"""Work that goes on at a tool's server although no stream to it is open: tasks, and sessions.

A revocation ends the streams of a branch, but not what such a server does for it. So a worker
remembers the work that it has seen begin (`registry`), and cancels it at the server when the branch
is revoked or exhausted (`canceller`). That is best effort: a restarted worker has forgotten it. A
branch that is revoked, and any other branch, cannot use the work in any case, because its id is
sealed (core/sealed_ids.py). A message to an agent that waits for its task shows no id before the
end of the task: then the worker asks the agent for it.
"""
