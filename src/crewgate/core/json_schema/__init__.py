"""A subset of JSON Schema (2020-12) that a gateway can evaluate for hostile values.

`schema_compiler` compiles a schema once, and refuses each keyword that it does not evaluate.
`assertion_keywords` and `applicator_keywords` have the keywords. `json_values` reads JSON with
exact numbers. `regex_parser` and `regex_automaton` make an automaton of a `pattern`. `work_budget`
bounds each check. `failure` writes the reason for a model.

Invariants:

- Each check takes a bounded number of steps. If a value needs more steps, the check refuses the
  value.
- Numbers are compared exactly: 1, 1.0 and 1e0 are equal, and no check rounds a number.
- No pattern backtracks: the time of a match is linear in the length of the text.
- If a member has another spelling of a name in the schema, the check refuses the object, because
  some servers read that member for the one in the schema.
"""
