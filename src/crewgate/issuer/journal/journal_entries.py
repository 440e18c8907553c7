"""The lines of an orchestrator's journal: each grant, each refused extension, each revocation.

A line of a grant also says how the request came and who decided it. So no crash can separate the
request and its decision from the grant. In the file, a `reason` is called `why`. A line of an
earlier version has no `way`, `decided_by` and `ends_at`.
"""

import enum

import msgspec

from crewgate.core.policy import scope
from crewgate.core.tokens.claims import Claims

# Values of `decided_by`. The fourth is the user of a command, such as "uid 1000".
ORCHESTRATOR = "orchestrator"  # its own code asked for the grant
CALLBACK = "callback"  # the function that the orchestrator's code passed as `decide`
POLICY = "policy"  # the limits of the crew


class GrantWay(enum.StrEnum):
    """How the request for a grant came."""

    LIBRARY = "library"
    SOCKET = "socket"  # of a sub-agent's sidecar
    API = "api"
    COMMAND = "command"
    RENEWAL = "renewal"  # the token of a handle was due
    TOKEN_FILE = "token-file"  # the token in a file was due

    @property
    def is_automatic(self) -> bool:
        """Whether no code and no person asked for it."""
        return self in {GrantWay.RENEWAL, GrantWay.TOKEN_FILE}


class _Entry(msgspec.Struct, frozen=True, tag_field="event", omit_defaults=True):
    at: float  # wall-clock seconds


class MintRecord(_Entry, frozen=True, tag="mint"):
    """The first grant of a new branch, minted at `at`.

    `ends_at` is when the branch ends unless it gets an extension, in wall-clock seconds; None is
    no such time.
    """

    claims: Claims
    reason: str = msgspec.field(default="", name="why")
    overcommit: bool = False
    way: str = ""
    decided_by: str = ""
    ends_at: int | None = None


class ExtensionRecord(_Entry, frozen=True, tag="extend"):
    """A further grant of a branch, and what it adds: seconds of life, micro-credits, tools.

    `answer` is what the one who decided says about it. `ends_at` is as for `MintRecord`, and
    `end_moved` is by how many seconds this grant has moved it.
    """

    claims: Claims
    seconds: int
    credits: int = 0
    tools: tuple[str, ...] = ()
    reason: str = msgspec.field(default="", name="why")
    overcommit: bool = False
    way: str = ""
    decided_by: str = ""
    answer: str = ""
    ends_at: int | None = None
    end_moved: int = 0


class ExtensionRefused(_Entry, frozen=True, tag="refuse"):
    """A request for a further grant that was refused, and what it asked for.

    Attributes:
        branch: The branch, as UUID text.
        by: The orchestrator, `<crew>/<name>`.
        grant: The `jti` of the branch's newest token.
        seconds, credits, tools: The request: seconds of life, micro-credits and tools to add.
        reason: Why the request was made.
        way, decided_by, answer: As for `ExtensionRecord`; `answer` says why it was refused.
    """

    branch: str
    by: str
    grant: str
    seconds: int = 0
    credits: int = 0
    tools: tuple[str, ...] = ()
    reason: str = msgspec.field(default="", name="why")
    way: str = ""
    decided_by: str = ""
    answer: str = ""

    @property
    def is_renewal(self) -> bool:
        """Whether it asked for nothing but the next token."""
        return not (self.seconds or self.credits or self.tools)


class BranchRevoked(_Entry, frozen=True, tag="revoke"):
    """The revocation of a branch (UUID text) and of all below it, ordered by `by`."""

    branch: str
    by: str
    reason: str = msgspec.field(default="", name="why")


JournalEntry = MintRecord | ExtensionRecord | ExtensionRefused | BranchRevoked

decode = msgspec.json.Decoder(JournalEntry).decode
_encode = msgspec.json.Encoder().encode
LINE_PREFIX = b'{"event":"'  # of each line


def encode(entry: JournalEntry) -> bytes:
    """Return the line of an entry, with its end."""
    return _encode(entry) + b"\n"


def new_tools(before: Claims, tools: list[str]) -> tuple[str, ...]:
    """Return the tools that are not within those of `before`."""
    return tuple(tool for tool in tools if not scope.within([tool], before.allowed_tools))
