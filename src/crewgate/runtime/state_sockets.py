"""The names of the unix sockets that the processes of a machine open in its state folder."""

ATTACH_SOCKET = "agent.sock"
OWNER_SOCKET = "owner.sock"
OCSP_SOCKET = "ocsp.sock"
STATE_SOCKETS = (ATTACH_SOCKET, OWNER_SOCKET, OCSP_SOCKET)
