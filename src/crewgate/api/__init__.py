"""The control API: an ASGI application over an office that is handed to it, and its bridge."""
