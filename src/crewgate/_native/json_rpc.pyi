"""Reads one JSON-RPC 2.0 message so strictly that no server can read another one in it."""

from collections.abc import Sequence
from typing import Literal

from crewgate.errors import MalformedMessageError as MalformedMessageError

class JSONRPCMessage:
    """One request, notification or response; `read_message` makes it.

    An attribute is None if the message does not have the member; `id` and `method` are then empty. A
    response has no `params`. A raw value is a copy of the JSON text in `body`, without the white
    space around it. A member that is `null` has a raw value, and its decoded value is None.

    - `body`: the whole message, byte for byte
    - `kind`: a response has no `method`; a notification has a `method` and no `id`
    - `id`: raw; an error response may have none (JSON-RPC 2.0, section 5)
    - `id_value`: decoded. To compare two ids, compare their decoded values: a server may escape
      other characters than its client.
    - `method`: decoded
    - `name`, `uri`, `task_id`, `cursor`: decoded, from `params`
    - `protocol_version`: decoded "io.modelcontextprotocol/protocolVersion" of `params._meta`
    - `initialize_version`: decoded `params.protocolVersion`, which `initialize` has
    """

    @property
    def body(self) -> bytes: ...
    @property
    def kind(self) -> Literal["request", "notification", "response"]: ...
    @property
    def id(self) -> bytes: ...
    @property
    def id_value(self) -> int | str | None: ...
    @property
    def method(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def uri(self) -> str | None: ...
    @property
    def task_id(self) -> str | None: ...
    @property
    def cursor(self) -> str | None: ...
    @property
    def protocol_version(self) -> str | None: ...
    @property
    def initialize_version(self) -> str | None: ...
    @property
    def meta(self) -> bytes | None:
        """The raw `params._meta`."""
    @property
    def arguments(self) -> bytes | None:
        """The raw `params.arguments`."""
    @property
    def capabilities(self) -> bytes | None:
        """The raw member "io.modelcontextprotocol/clientCapabilities" of `params._meta`."""
    @property
    def related_task(self) -> bytes | None:
        """The raw member "io.modelcontextprotocol/related-task" of `params._meta`."""
    def member(self, *path: str) -> bytes | None:
        """Return the raw value at a path of names, such as `member("result", "tools")`.

        Returns None if there is none, or if a value on the way is not an object. Each name is ASCII
        of at most 60 characters, without quote and backslash. An attribute of the message is found
        at once. For any other name, `member` goes over the whole object, a gigabyte a second, so a
        caller that needs a value twice keeps it.

        Raises ValueError if a name cannot be looked for, and MalformedMessageError like `text`.
        """
    def text(self, *path: str) -> str | None:
        """Return the decoded string at a path of names; None if there is none, or `null`.

        Raises ValueError like `member`. Raises MalformedMessageError with the code -32602 if the
        value is not a string, or has U+0000; and with -32600 if an object on the way has another
        spelling of the name, see `read_message`.
        """
    def with_text(self, path: Sequence[str], text: str) -> bytes:
        """Return `body` with another text in the place of the string at `path`.

        All other bytes stay. Raises ValueError if there is no string, or if `text` has a surrogate;
        MalformedMessageError like `text`.
        """

def check_json(body: bytes) -> None:
    """Check that `body` is one JSON text that all readers read in the same way.

    Raises MalformedMessageError with the code -32700 if `body` breaks RFC 8259, is not UTF-8, or has
    a surrogate that is not half of a pair, or a byte order mark. The code is -32600 if `body` has more
    than `limits.json_rpc_bytes_max` bytes, `json_rpc_depth_max` levels or `json_rpc_values_max`
    values, or if an object, wherever it is, has two members with the same name after escapes are
    decoded. Raises TypeError if `body` is not bytes, and MemoryError.
    """

def read_message(body: bytes, *, is_mcp: bool = True) -> JSONRPCMessage:
    """Read one message (JSON-RPC 2.0, sections 4 and 5), which is all of `body`.

    `is_mcp`: False for another protocol, whose `params` have other members. All attributes of
    `params` but `params` itself are then None.

    Raises MalformedMessageError, TypeError and MemoryError like `check_json`. The code is -32600
    if `body` is not one message that all servers read in the same way:

    - the outermost value is not an object; a batch is not supported
    - a member of the message has another spelling of a name that an attribute of `JSONRPCMessage`
      has; with `is_mcp`, also a member of `params` or of `params._meta`. Spellings differ in case,
      in `_` and `-`, in U+017F for s, U+212A for k, U+0130 and U+0131 for i, or in what follows
      U+0000. Servers exist that take `TASKID` or `task_id` for `taskId`.
    - `jsonrpc` is not "2.0"; there are neither `method`, `result` nor `error`, or two of them
    - `id` is neither a string nor an integer between -(2^53 - 1) and 2^53 - 1. `null` is an id in
      an error response only. A result has no id, or an id has more than
      `limits.json_rpc_id_bytes_max` bytes.
    - `method` is not a string of 1 to `limits.json_rpc_method_bytes_max` bytes; `error` is not an
      object

    The code is -32602 if `params` is not an object; with `is_mcp`, also if `params._meta` is not an
    object, or a decoded attribute is not a string or has U+0000. `null` is the same as no member,
    except for `params`.
    """
