"""Writes refusals and errors for A2A clients, in the form of the binding of the request.

- JSON-RPC: an error with the id of the request (A2A 1.0, section 9.5). Its status is 200, because
  clients read no body of another status. Only a missing or bad token and a method that the token
  does not allow have the status and the challenge of RFC 6750.
- HTTP+JSON: a `google.rpc.Status` in JSON (section 11.6), with the status of the problem.
- gRPC: a status in the trailers (section 10.6; `core/grpc_status.py`).

Errors of A2A have the domain "a2a-protocol.org", and problems of the gateway "crewgate.dev".
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Literal

import msgspec

from crewgate.core import grpc_status, problems
from crewgate.core.a2a import budget_extension
from crewgate.core.a2a.errors import A2AError
from crewgate.core.a2a.methods import Binding
from crewgate.core.http_types import HeaderField
from crewgate.core.problem_types import ProblemType, rpc_code
from crewgate.core.problems import RefusalResponse
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import Denial

RefusalForm = Literal["a2a", "http"]

A2A_DOMAIN = "a2a-protocol.org"
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_NO_STORE: HeaderField = (b"cache-control", b"no-store")
_TYPES = {Binding.JSONRPC: b"application/json", Binding.HTTP_JSON: b"application/a2a+json"}
_encode = msgspec.json.Encoder().encode
_NULL = msgspec.Raw(b"null")


class A2AProblemFormat(msgspec.Struct, frozen=True):
    """How the problems of one request are written.

    Attributes:
        form: "a2a" as above; "http" for problem documents.
        metadata_path: The path of the endpoint's protected resource metadata.
        scope: What a token must allow: the id of the method, or a pattern for the endpoint.
        binding: The binding of the request.
        message_id: The id of a JSON-RPC request as JSON; empty if it has none or was not read.
        content_type: The Content-Type of the answer to a gRPC request.
        is_aauth: Whether a refusal for want of credits has the field AAuth-Budget.
    """

    form: RefusalForm
    metadata_path: bytes
    scope: str
    binding: Binding = Binding.JSONRPC
    message_id: bytes = b""
    content_type: bytes = b"application/grpc"
    is_aauth: bool = False

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

        `request` is the 16-byte id of the call. `is_running`: the agent may have seen the call, so
        no client may be led to repeat it.
        """
        if self.binding is Binding.GRPC:
            fields = problems.grpc_fields(kind, request, denial, grant) + self._budget(denial)
            return RefusalResponse(HTTPStatus.OK, self._grpc_head(fields), b"")
        metadata = b"https://%b%b" % (authority, self.metadata_path)
        fields = problems.fields(kind, metadata, denial, scope=self.scope) + self._budget(denial)
        if self.form == "http":
            return RefusalResponse(
                kind.status, fields, problems.document(kind, request, denial, grant=grant)
            )
        fields[0] = (b"content-type", _TYPES[self.binding])
        body = self._problem(kind, request, denial, grant)
        wants_token = kind.status == HTTPStatus.UNAUTHORIZED or kind.token_error
        if self.binding is Binding.JSONRPC and (is_running or not wants_token):
            kept = [field for field in fields if field[0] != b"www-authenticate"]
            return RefusalResponse(HTTPStatus.OK, kept, body)
        return RefusalResponse(kind.status, fields, body)

    def error(self, error: A2AError) -> RefusalResponse:
        """Return the response for a request that breaks a rule of the protocol."""
        kind = error.kind
        if self.binding is Binding.GRPC:
            fields = grpc_status.fields(
                kind.grpc, kind.reason, str(error), error.members, domain=A2A_DOMAIN
            )
            return RefusalResponse(HTTPStatus.OK, self._grpc_head(fields), b"")
        details = [_error_info(kind.reason, A2A_DOMAIN, error.members)]
        body = self._body(kind.code, kind.status, kind.grpc, str(error), details)
        fields = [(b"content-type", _TYPES[self.binding]), _NO_STORE]
        is_ok = self.binding is Binding.JSONRPC
        return RefusalResponse(HTTPStatus.OK if is_ok else kind.status, fields, body)

    def event(
        self, kind: ProblemType, request: bytes, denial: Denial | None = None
    ) -> bytes | None:
        """Return the last event of a stream that is cut short; None if no event can say why."""
        if self.form == "http":
            return problems.event(kind, request, denial)
        body = self._problem(kind, request, denial, None)
        if self.binding is Binding.JSONRPC:
            return b"data: %b\n\n" % body if self.message_id else None
        return b"event: error\ndata: %b\n\n" % body

    def _problem(
        self, kind: ProblemType, request: bytes, denial: Denial | None, grant: Grant | None
    ) -> bytes:
        members = problems.members(kind, request, denial, grant)
        reason = kind.slug.upper().replace("-", "_")
        texts = {name: str(value) for name, value in members.items()}
        details = [_error_info(reason, grpc_status.DOMAIN, texts)]
        message = f"{members['title']}. {members['detail']}"
        return self._body(rpc_code(kind.status), kind.status, kind.grpc_code, message, details)

    def _body(
        self,
        code: int,
        status: int,
        grpc: grpc_status.Code,
        message: str,
        details: Sequence[Mapping[str, object]],
    ) -> bytes:
        if self.binding is Binding.HTTP_JSON:
            return _encode(
                {
                    "error": {
                        "code": status,
                        "status": grpc.name,
                        "message": message,
                        "details": details,
                    }
                }
            )
        message_id = msgspec.Raw(self.message_id) if self.message_id else _NULL
        error = {"code": code, "message": message, "data": details}
        return _encode({"jsonrpc": "2.0", "id": message_id, "error": error})

    def _budget(self, denial: Denial | None) -> list[HeaderField]:
        if not self.is_aauth or denial is None or not denial.level:
            return []
        return [budget_extension.aauth_refusal(denial.left_micro, denial.need_micro)]

    def _grpc_head(self, fields: list[HeaderField]) -> list[HeaderField]:
        return [(b"content-type", self.content_type), *fields]


def _error_info(reason: str, domain: str, metadata: Mapping[str, str]) -> dict[str, object]:
    return {"@type": _ERROR_INFO, "reason": reason, "domain": domain, "metadata": metadata}
