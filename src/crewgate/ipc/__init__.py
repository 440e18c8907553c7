"""The agent's unix sockets as other processes use them: frames, messages and clients.

Workers and embedders connect to the attach socket (`agent.sock`): they get the table's descriptor,
draw credit, and receive revocations and reloads. Commands, the control process, the supervisor and
orchestrators of the service's user connect to the admin socket (`owner.sock`).
"""
