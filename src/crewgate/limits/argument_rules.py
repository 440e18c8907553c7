"""The bounds of rules on the arguments of MCP tools (core/json_schema/, core/mcp/arguments/)."""

argument_rules_max = 64  # of one tool; tools rarely have more than a dozen arguments
argument_values_max = 256  # in one list of a rule; a longer list belongs into a schema
argument_text_chars_max = 256  # of a text in a rule: a folder, a host, a text with "*"
# Steps of one check, each of 1 µs at most: a step is a keyword, a member, an item, or 16 characters
# that a pattern reads. Other calls of the worker wait meanwhile.
argument_steps_max = 20_000
argument_schema_nesting_max = 128  # schemas that apply inside each other; 64 levels, with $ref
argument_number_chars_max = 400  # of a number with a fraction or exponent; a double has 309 digits
argument_exponent_max = 400  # as `argument_number_chars_max`, for 1e400 written short
argument_path_chars_max = 4096  # of a path or URL that is compared; PATH_MAX of Linux
argument_shown_chars_max = 64  # of an argument that a refusal quotes
argument_choices_shown_max = 8  # of the values that a rule allows, in its refusal

argument_schema_bytes_max = 131_072  # a file; the longest published input schemas have 60 KiB
argument_schema_depth_max = 48  # of a schema's own JSON; schemas of tools have up to 20
argument_schema_enum_max = 4096  # values of one `enum`; lists of currencies or regions have 300
regex_chars_max = 1024  # of one `pattern`; URL and e-mail patterns have 300
regex_nesting_max = 32  # groups inside each other
regex_repeat_max = 1024  # in {m,n}: more makes as many states
regex_states_max = 4096  # of the deterministic automaton of one pattern
# Steps to compile all patterns of one schema, and cells of their tables: about 2 s and 16 MiB.
regex_compile_steps_max = 2_000_000
