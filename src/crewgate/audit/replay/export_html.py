"""Writes a replay as one HTML file: it can be read without a network, a script or the audit.

The same document gives the same bytes. Each text in it is escaped, and its policy (CSP) runs only
the script of Crewgate, whose digest it has. Names of people and tools thus cannot run anything.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from html import escape
from importlib.resources import files

import msgspec

from crewgate.audit.replay import statement
from crewgate.audit.replay.cover_text import changed_text, unsigned_text
from crewgate.audit.replay.export_document import ExportDocument, ExportedMachine
from crewgate.audit.replay.statement import CHANGED, UNSIGNED
from crewgate.audit.replay.step_text import plural
from crewgate.core.audit.records import when
from crewgate.core.terminal_text import printable

DATA_START = b'<script type="application/json" id="replay-data">'
DATA_END = b"</script>"
# In JSON, these characters stand only in texts. Without them, no text ends the element.
_ESCAPES = {b"<": b"\\u003c", b">": b"\\u003e", b"&": b"\\u0026"}
_STYLES = ("ui/static/replay.css", "audit/replay/static/export.css")
_SCRIPTS = ("ui/static/replay_view.js", "audit/replay/static/export.js")
_HEADINGS = ("", "time (UTC)", "machine", "branch", "role", "what", "signed by")
_ABOUT = """\
Each line below is a record of the audit of a machine, as the machine wrote it. The machine has
compared its files with its signed checkpoints, and has signed which lines of this run they have. So
with the public keys of the machines you can verify, without the audit, that no line was changed,
removed, inserted or moved: crewgate audit verify-export FILE --key KEY, with a --key for each
machine. Take the keys from where they were noted when the machines were set up, and not from this
file."""
# The maker of a file can write any text there, and a verification cannot find that.
_NOT_SIGNED = "(the maker of this file wrote this; no machine has signed it)"
_CLOCKS = """\
Lines of one machine have times of one clock. The clocks of two machines can differ, so the order
between lines of two machines is only about right."""


def html(found: ExportDocument) -> bytes:
    """Return the bytes of the file."""
    style, script = _static(_STYLES), _static(_SCRIPTS)
    policy = (
        f"default-src 'none'; script-src 'sha256-{_digest(script)}'; "
        f"style-src 'sha256-{_digest(style)}'; base-uri 'none'; form-action 'none'"
    )
    # In ASCII, so that no text changes how a person sees the source of the file.
    data = json.dumps(msgspec.to_builtins(found), separators=(",", ":")).encode()
    for character, text in _ESCAPES.items():
        data = data.replace(character, text)
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>Replay of run {_text(found.run)}</title>\n<style>{style}</style>\n"
        "</head>\n<body>\n"
    )
    body = "".join(_body(found))
    end = f'<script type="module">{script}</script>\n</body>\n</html>\n'
    return b"".join([head.encode(), body.encode(), DATA_START, data, DATA_END, b"\n", end.encode()])


def _body(found: ExportDocument) -> Iterator[str]:
    yield f"<h1>Replay of run {_text(found.run)}</h1>\n<dl>\n"
    yield _fact("crew", found.crew or "(none)")
    if found.since is not None or found.until is not None:
        yield _fact("from", _time(found.since) if found.since else "the beginning")
        yield _fact("until", _time(found.until) if found.until else "the end")
    for each in found.machines:
        yield from _machine(each)
    for missing in found.not_asked:
        yield _fact(f"no lines of {missing.machine}", f"{missing.why} {_NOT_SIGNED}")
    yield f"</dl>\n<p>{escape(_ABOUT)}</p>\n"
    yield '<p id="replay-verdict" role="status"></p>\n<div id="replay" hidden></div>\n'
    yield f"<h2>All steps</h2>\n<p>{escape(_CLOCKS)}</p>\n<table>\n<thead><tr>"
    yield "".join(f"<th>{each}</th>" for each in _HEADINGS)
    yield "</tr></thead>\n<tbody>\n"
    yield from _rows(found)
    yield "</tbody>\n</table>\n"


def _machine(machine: ExportedMachine) -> Iterator[str]:
    """Yield what is known of a machine; the file may hold what is no statement."""
    name = machine.machine or "the machine"
    try:
        stated = statement.read(machine.statement).statement
    except ValueError:
        yield _fact(name, "its statement cannot be read")
        return
    yield _fact(f"key of {name}", stated.key)
    notes = [f"{plural(len(machine.lines), 'line')}, as {name} stated at {_time(stated.time)} UTC"]
    if stated.checkpoints:
        last = max(stated.checkpoints, key=lambda each: each.number)
        until = f"number {last.number} of {_time(last.time)} UTC"
        notes.append(f"the newest checkpoint that covers some of them is {until}")
    if stated.unsigned:
        notes.append(unsigned_text(stated.unsigned))
    if stated.changed:
        notes.append(changed_text(stated.changed))
    if stated.left_out and stated.left_out_from is not None:
        since = _time(stated.left_out_from)
        notes.append(f"{plural(stated.left_out, 'more line')} from {since} UTC on did not fit")
    if stated.unreadable:
        lines = plural(stated.unreadable, "line")
        notes.append(f"{lines} with the id of the run cannot be read as records")
    yield _fact(f"lines of {name}", "; ".join(notes))


def _rows(found: ExportDocument) -> Iterator[str]:
    branches = found.timeline.branches
    for number, step in enumerate(found.timeline.steps, 1):
        branch = branches[step.branch] if step.branch >= 0 else None
        line = found.machines[step.machine].lines[step.place]
        cells = (
            str(number),
            _time(when(step.moment_us * 1000)),
            found.machines[step.machine].machine,
            branch.branch if branch else "",
            branch.role if branch else "",
        )
        inner = "".join(f"<td>{_text(each)}</td>" for each in cells)
        inner += f"<td>{escape(step.words)}</td><td>{_text(_cover(line.cover))}</td>"
        yield f'<tr class="step-{_text(step.mark)}">{inner}</tr>\n'


def _cover(cover: str) -> str:
    if cover == UNSIGNED:
        return "no checkpoint yet"
    return "NOT as signed" if cover == CHANGED else f"checkpoint {cover}"


def _fact(name: str, value: str) -> str:
    return f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>\n"


def _text(text: str) -> str:
    return escape(printable(text))


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3]


def _static(names: tuple[str, ...]) -> str:
    root = files("crewgate")
    return "".join(root.joinpath(name).read_text("utf-8") for name in names)


def _digest(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()
