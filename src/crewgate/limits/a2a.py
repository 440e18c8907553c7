"""The bounds of A2A endpoints (core/a2a, gateway/a2a)."""

a2a_fields_max = 65_536  # read in one protobuf message: 50 ms; a task of 10,000 messages is fine
a2a_json_values_max = 65_536  # read in one JSON message, for the same time
a2a_values_per_id = 12  # to seal or open an id takes as long as to read so many values
a2a_known_ids_max = 1024  # of one response, which are not sealed again; 2.5 MB if they are long
a2a_card_bytes_max = 262_144  # of an agent card; those of large agents have 50 KB
a2a_text_chars_max = 1024  # of a tenant, the name of an extension, a page token of a client
a2a_extensions_max = 32  # that one request asks for; clients ask for two or three
a2a_query_chars_max = 4096  # of a request of the HTTP+JSON binding; all its parameters are short
a2a_endpoints_max = 64  # `[a2a.NAME]`; each stands for one agent
a2a_body_bytes_max = 4 * 2**20  # of a request, unless the endpoint says otherwise; as in gRPC
a2a_message_bytes_max = 32 * 2**20  # of a response or an event: agents return files in artifacts
a2a_responses_bytes_max = 64 * 2**20  # of all responses that a worker holds back to read them
a2a_responses_share = 2  # the divisor: a crew gets at most half, so others always get some
a2a_tenants_max = 64  # that one endpoint lets through
a2a_push_origins_max = 64  # to which the agent of one endpoint may push
a2a_searched_tasks_max = 20  # of one context that a revocation looks for, the newest ones
a2a_search_bytes_max = 2**20  # of their list; a task with a message of its agent has a few KB
a2a_card_seconds = 60  # that a client may keep a card: how soon a change of the agent shows
a2a_context_bytes = 12  # of randomness in the name of a context: 2^48 contexts until two are equal
