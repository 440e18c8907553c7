"""Writes refusals for MCP clients, as answers that their agents understand.

MCP clients read neither problem documents nor events of the type `error`. A model reads the result
of a tool, and its program reads JSON-RPC errors and the challenges of 401 and 403. So:

- Where the model can act on it (credits, a busy or broken server, arguments), the refusal of
  `tools/call` is a result with `isError`, and says what happened and what to do.
- A bad token is 401 and a tool that the token does not allow is 403, each with a challenge
  (RFC 6750; RFC 9728, section 5.1) and a JSON-RPC error.
- Everything else is a JSON-RPC error with the status of the problem.

The code of an error follows from the status (`problem_types.rpc_code`).
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal

import msgspec

from crewgate.core import problems
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp.methods import Revision
from crewgate.core.mcp.rpc_errors import INVALID_PARAMS, METHOD_NOT_FOUND, RPCError
from crewgate.core.problem_types import INSUFFICIENT_SCOPE, ProblemType, rpc_code
from crewgate.core.problems import RefusalResponse
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial

RefusalForm = Literal["mcp", "result", "http"]

_PROBLEM = "dev.crewgate/problem"  # the key in `_meta` of a result
_JSON: HeaderField = (b"content-type", b"application/json")
_NO_STORE: HeaderField = (b"cache-control", b"no-store")
_ANSWERS = frozenset({METHOD_NOT_FOUND, INVALID_PARAMS})
_encode = msgspec.json.Encoder().encode
_NULL = msgspec.Raw(b"null")


class MCPProblemFormat(msgspec.Struct, frozen=True):
    """How the problems of one request are written.

    Attributes:
        form: "mcp" as above; "result" for `isError` also if the token does not allow the tool;
            "http" for problem documents.
        metadata_path: The path of the endpoint's protected resource metadata.
        scope: What a token must allow: the id that the request uses, or a pattern for the endpoint.
        message_id: The id of the request as JSON; empty if it has none or was not read.
        is_tool_call: Whether the request is `tools/call`.
        revision: The revision of the message; None if it was not read.
    """

    form: RefusalForm
    metadata_path: bytes
    scope: str
    message_id: bytes = b""
    is_tool_call: bool = False
    revision: Revision | None = None

    def refusal(
        self,
        kind: ProblemType,
        request: bytes,
        denial: Denial | None = None,
        *,
        authority: bytes,
        grant: Grant | None = None,
        is_running: bool = False,
    ) -> RefusalResponse:
        """Return the response for a problem.

        `request` is the 16-byte id of the call. `is_running`: the server may have seen the call,
        so no client may be led to repeat it.
        """
        metadata = b"https://%b%b" % (authority, self.metadata_path)
        if self.form == "http":
            body = problems.document(kind, request, denial, grant=grant)
            fields = problems.fields(kind, metadata, denial, scope=self.scope)
            return RefusalResponse(kind.status, fields, body)
        fields = problems.fields(kind, metadata, denial, scope=self.scope)
        fields[0] = _JSON
        body = self._body(kind, request, denial, grant, is_running=is_running)
        is_ok = self._is_result(kind, is_running=is_running) or is_running
        if is_ok and self.message_id:
            kept = [field for field in fields if field[0] != b"www-authenticate"]
            return RefusalResponse(HTTPStatus.OK, kept, body)
        return RefusalResponse(kind.status, fields, body)

    def error(self, error: RPCError) -> RefusalResponse:
        """Return the response for a message that breaks a rule of the protocol.

        Legacy clients read the error of an unknown method or a bad parameter at status 200 only.
        """
        members: dict[str, object] = {"code": error.code, "message": error.message}
        if error.data:
            members["data"] = error.data
        status = error.status
        if self.revision is Revision.LEGACY and self.message_id and error.code in _ANSWERS:
            status = HTTPStatus.OK
        return RefusalResponse(status, [_JSON, _NO_STORE], self._answer("error", members))

    def event(
        self, kind: ProblemType, request: bytes, denial: Denial | None = None
    ) -> bytes | None:
        """Return the last event of a stream that is cut short; None if no event can say why.

        It has the type `message` and no id, after which clients would reconnect.
        """
        if self.form == "http":
            return problems.event(kind, request, denial)
        if not self.message_id:
            return None
        body = self._body(kind, request, denial, None, is_running=True)
        return b"event: message\ndata: %b\n\n" % body

    def _body(
        self,
        kind: ProblemType,
        request: bytes,
        denial: Denial | None,
        grant: Grant | None,
        *,
        is_running: bool,
    ) -> bytes:
        problem = problems.members(kind, request, denial, grant)
        text = f"{problem['title']}. {problem['detail']}"
        if self._is_result(kind, is_running=is_running):
            result: dict[str, object] = {
                "content": [{"type": "text", "text": text}],
                "isError": True,
                "_meta": {_PROBLEM: problem},
            }
            if self.revision is Revision.MODERN:
                result = {"resultType": "complete", **result}
            return self._answer("result", result)
        error = {"code": rpc_code(kind.status), "message": text, "data": problem}
        return self._answer("error", error)

    def _is_result(self, kind: ProblemType, *, is_running: bool) -> bool:
        """Return whether the model gets the problem as the result of its tool."""
        if not (self.is_tool_call and self.message_id):
            return False
        if kind.status == HTTPStatus.UNAUTHORIZED:
            return is_running
        if kind.token_error == INSUFFICIENT_SCOPE:
            return self.form == "result"
        return not kind.token_error

    def _answer(self, member: str, value: Mapping[str, object]) -> bytes:
        message_id = msgspec.Raw(self.message_id) if self.message_id else _NULL
        return _encode({"jsonrpc": "2.0", "id": message_id, member: value})
