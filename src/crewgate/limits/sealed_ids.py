"""The bounds of sealed ids (core/sealed_ids.py) and of their keys."""

sealing_keys_max = 4  # one that seals, one that comes, and two whose ids are still in use
sealed_id_bytes_max = 1024  # of a tool's id: a UUID has 36; sealed, 1,426 fit one header field
sealed_cursor_bytes_max = 65_536  # of a page of a list: a server may put all state there
