"""The bounds of a sidecar: a process that adds credentials to the requests of a program."""

sidecar_processes_max = 256  # of one orchestrator; each has a sidecar of 31 MiB
sidecar_start_seconds_max = 20.0  # until the process is there; half a second on a quiet machine
sidecar_message_bytes_max = 65_536  # to or from a sidecar; a command is the longest
sidecar_extensions_max = 16  # requests of a program that wait for a decision; a thread each
sidecar_repeat_bytes_max = 65_536  # of a body, kept for a repetition; as `buffer_bytes_max`
sidecar_tokens_max = 256  # of the program, known to be bound or not; 1 MiB at most
sidecar_answer_seconds_max = 3600.0  # without a byte; the gateway has a limit for each tool
sidecar_gateway_connections_max = 16  # of 100 streams each; the local socket has 256 connections
sidecar_calls_max = 1600  # at once: so many streams to the gateway; three buffers of 64 KiB each
sidecar_reap_max = 64  # ended processes at a time, a few ms; other tasks run before the next
