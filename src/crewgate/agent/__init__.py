"""The agent: the one process of a machine that owns the shared table.

`main` wires it. `state` holds what is in force, `table_setup` opens the table, `journal` keeps what
must survive a restart. `ipc_server` serves the other processes; `revocation`, `budget`, `anomaly`
and `cluster` each answer for one domain. If the agent ends, its table goes stale after 5 seconds,
and workers refuse calls until an agent is back.
"""
