"""The agent's two unix sockets.

Processes that decide calls attach at one of them (`attach_session`): they get the table, draw
credit and are told of revocations. Commands of the operator use the other one (`admin_session`).
"""
