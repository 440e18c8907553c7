"""The bounds of `crewgate bench` (load_test/)."""

load_test_answer_seconds = 10.0  # for the last answers of a step; a call may wait 5 s for credit
load_test_body_bytes_max = 2**20  # of a request; the client keeps it in memory
load_test_connect_seconds = 10.0  # for one connection with its handshake
load_test_connections_max = 1000  # a process may have 1,024 descriptors unless a user allows more
load_test_fields_max = 64  # that a person adds to a request
load_test_problem_bytes_max = 4096  # of the answer to a first request that is refused
load_test_rate_max = 100_000  # requests a second; no client in Python reaches it
load_test_rates_max = 32  # steps of one run
load_test_reconnections_max = 1000  # in a step; a gateway closes a connection now and then
load_test_requests_max = 5_000_000  # in a step; their times take 40 MB
load_test_seconds_max = 600  # of a step
load_test_streams_max = 250  # on a connection; gateways allow 100 to 250
