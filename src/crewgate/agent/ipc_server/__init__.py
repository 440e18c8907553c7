"""The agent's two unix sockets.

Processes that decide calls attach at one of them (`attach_session`): they get the table, draw
credit and receive revocations. The operator's commands use the other one (`admin_session`).
"""
