"""The bounds of tool pinning (core/mcp/pins/, agent/tool_pins/)."""

mcp_pinned_tools_max = 1024  # of one endpoint; servers of the field have a few hundred at most
mcp_pin_name_chars_max = 128  # of a tool; MCP allows no longer name
mcp_definition_bytes_max = 32_768  # of one definition that is kept for `diff`; most have 2,000
mcp_definitions_bytes_max = 2**20  # kept of one endpoint: 500 definitions
mcp_first_use_seconds = 300  # after the first tool: a client has read all pages of the list
# Changes of one endpoint beyond the first of each tool: an endpoint with two releases behind a
# balancer makes some; a server that alternates makes them for ever.
mcp_repeated_changes_burst = 16
mcp_repeated_changes_per_second = 1 / 60  # after the burst: 1,440 audit lines a day
mcp_pins_write_seconds = 0.1  # between two writes: a burst of reports makes one write
mcp_pins_retry_seconds = 1.0  # until a write that failed is repeated
mcp_pins_saved_seconds_max = 2.0  # for the disk to take an approval; its client waits for 5
mcp_pins_file_bytes_max = 4 * 2**20  # of one endpoint: its definitions, and 1,025 pins of 0.6 KiB
mcp_pins_in_push = 256  # in one message to a worker; of 400 bytes each, they fit a frame
mcp_definitions_in_report = 64  # in one message of a worker, if they are short
mcp_report_bytes_max = 65_536  # of definitions in one message: with one more, it fits a frame
mcp_reports_unanswered_max = 64  # of one worker; the agent answers after a write of its disk
mcp_definitions_read_max = 4096  # whose digest a worker does not compute again; 0.3 KiB each
mcp_definitions_sent_max = 8  # different ones of one tool, until the agent pushes its pin again
mcp_tools_sent_max = 16_384  # of a worker, for which it remembers what it sent; 0.5 KiB each
mcp_pin_names_in_log = 5  # of tools in one line; the audit has all
mcp_diff_items_max = 500  # words and spaces of a text, compared one by one: 0.1 s at most
mcp_diff_context_words = 6  # that are shown before a change of a text
mcp_pin_names_in_request = 256  # tools that a person names in one command
