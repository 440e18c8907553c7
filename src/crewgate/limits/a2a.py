"""The bounds of A2A endpoints (core/a2a, gateway/a2a)."""

a2a_fields_max = 65_536  # read in one protobuf message: 50 ms; a task of 10,000 messages is fine
a2a_json_values_max = 65_536  # read in one JSON message, for the same time
a2a_card_bytes_max = 262_144  # of an agent card; those of large agents have 50 KB
a2a_text_chars_max = 1024  # of a tenant, the name of an extension, a page token of a client
a2a_extensions_max = 32  # that one request asks for; clients ask for two or three
a2a_query_chars_max = 4096  # of a request of the HTTP+JSON binding; all its parameters are short
