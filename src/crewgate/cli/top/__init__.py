"""`crewgate top`: a live view of branches, tools and crews, with their rates.

- `rates` computes rates from counts that were read at different times.
- `reading` joins the answer of the machines with rates: what is shown.
- `view` holds what the person has chosen: order, filter, selection. `frame` lays it out.
- `terminal` and `keys` are the terminal: raw keys in, changed lines out.
- `source` asks the machines and orders what ends a branch; `background` does it beside the screen.
- `session` connects them.

Only `terminal` writes escape sequences. Each text of a machine or a token passes `printable` first.
"""
