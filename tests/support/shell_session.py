"""A shell at a pseudo-terminal, to which a test types keys as a person does."""

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path
from typing import NamedTuple, Self

SECONDS = 20.0  # a hang, not a slow machine
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x1b\][^\x07]*\x07|[\x07\r]")
SHOW = "\x0f"  # Ctrl-O, which each shell binds to print its line
CLEAR = "\x15"  # Ctrl-U

# What makes a shell print each possible completion at the first Tab, and its line at Ctrl-O. Zsh
# prints no list while another key waits, so its Tab prints the line too.
BASH = r"""
bind 'set show-all-if-ambiguous on' 'set completion-query-items -1' 'set page-completions off'
bind 'set completion-display-width 0' 'set enable-bracketed-paste off' 'set bell-style none'
bind -x '"\C-o": printf "LINE<%s>\n" "$READLINE_LINE"'
PS1='' PS2=''
"""
ZSH = r"""
zmodload zsh/complist
autoload -Uz compinit && compinit -u -D
show-line() { print -r -- "LINE<$BUFFER>" }
complete-and-show() { zle expand-or-complete; zle -R; show-line }
zle -N show-line && bindkey '^O' show-line
zle -N complete-and-show && bindkey '^I' complete-and-show
bindkey '^U' kill-whole-line
setopt no_always_last_prompt no_list_beep no_auto_menu
LISTMAX=10000 PS1='' PS2='' RPS1=''
"""


class Typed(NamedTuple):
    """What the shell printed after the Tab, as words, and its line then."""

    words: frozenset[str]
    line: str


class ShellSession:
    """An interactive shell with the folder as its HOME, and with its programs in `bin`.

    Use it in a `with`.
    """

    def __init__(self, command: list[str], setup: str, folder: Path) -> None:
        self._after_tab = "" if ZSH in setup else SHOW
        self._terminal, slave = pty.openpty()
        environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder),
            "TERM": "xterm",
            "LC_ALL": "C.UTF-8",
        }
        self._shell = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        file = folder / "setup"
        file.write_text(f"{setup}\nstty cols 300 rows 200\necho READY''1\n")
        self._send(f". {file}\r")
        self._until("READY1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._terminal)

    def tab(self, line: str) -> Typed:
        """Type a line and Tab; clear the line afterwards."""
        self._send(f"{line}\t{self._after_tab}")
        printed = self._until(">\n", after="LINE<")
        self._send(CLEAR + SHOW)
        self._until("LINE<>\n")
        before, _, shown = printed.rpartition("LINE<")
        return Typed(frozenset(before.split()), shown.partition(">\n")[0])

    def _send(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def _until(self, end: str, after: str = "") -> str:
        """Return what the shell prints up to `end`, without escape sequences."""
        found, until = "", time.monotonic() + SECONDS
        while end not in found.partition(after)[2] if after else end not in found:
            ready, _, _ = select.select([self._terminal], [], [], until - time.monotonic())
            assert ready, f"the shell printed only {found!r}"
            found += _ESCAPES.sub("", os.read(self._terminal, 65_536).decode(errors="replace"))
        return found
