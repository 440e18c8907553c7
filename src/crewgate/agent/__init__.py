"""The agent: the one process of a machine that owns the shared table.

`main` starts it. `state` holds its parts, `table_setup` opens the table, and `journal_file` keeps
the records that must survive a restart. `ipc_server` serves the other processes. `revocation`,
`budget`, `anomaly` and `cluster` each have one domain. If the agent ends, its table goes stale
after 5 seconds, and workers refuse calls until an agent is back.
"""
