"""Answers a sub-agent's request for an extension that came as JSON, such as over its socket.

The body is an object with at least one of `more_seconds` (a number), `more_credits` (decimal text)
and `more_tools` (a list), and with a `reason`. The answer is an `ExtensionResult` as JSON with the
status 200, or 403 if the request is refused. If nothing could be decided, the answer is a problem
document (RFC 9457).
"""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple, Protocol

import msgspec

from crewgate import limits
from crewgate.errors import BranchRevokedError, CrewgateError, IssuerError, JournalError
from crewgate.issuer.extensions.extension_decider import ExtensionResult
from crewgate.issuer.journal.journal_entries import GrantWay

_log = logging.getLogger(__name__)


class ExtensionResponse(NamedTuple):
    """The HTTP status, media type and body of an answer."""

    status: int
    media_type: str
    body: bytes


class ExtensionHandler(Protocol):
    """The method of an `Orchestrator` that decides."""

    def request_extension(
        self,
        agent: str,
        *,
        more_seconds: int | None,
        more_credits: str,
        more_tools: Sequence[str],
        reason: str,
        way: GrantWay,
    ) -> ExtensionResult:
        """Decide about a request of a branch (UUID text)."""


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    more_seconds: int | None = None
    more_credits: str = "0"
    more_tools: list[str] = []
    reason: str = ""


_decode = msgspec.json.Decoder(_Body).decode


def answer_extension_request(
    orchestrator: ExtensionHandler, branch: str, body: bytes
) -> ExtensionResponse:
    """Let the orchestrator decide the request of a branch (UUID text); blocks until it has.

    The caller has proven which branch asks.
    """
    if len(body) > limits.extension_request_bytes_max:
        detail = f"the request for an extension has more than {limits.extension_request_bytes_max}"
        return _problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{detail} bytes")
    try:
        wanted = _decode(body)
        result = orchestrator.request_extension(
            branch,
            more_seconds=wanted.more_seconds,
            more_credits=wanted.more_credits,
            more_tools=wanted.more_tools,
            reason=wanted.reason,
            way=GrantWay.SOCKET,
        )
    except msgspec.DecodeError as error:
        return _problem(HTTPStatus.BAD_REQUEST, f"the request for an extension: {error}")
    except BranchRevokedError as error:
        return _problem(HTTPStatus.FORBIDDEN, str(error))
    except JournalError:
        # The text has a path of the machine.
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, "the journal cannot be written")
    except IssuerError as error:
        return _problem(HTTPStatus.BAD_REQUEST, str(error))
    except CrewgateError as error:
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
    except Exception:  # noqa: BLE001 - the sub-agent waits for an answer
        _log.exception("branch %s: its request for an extension failed", branch)
        return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the orchestrator failed")
    status = HTTPStatus.OK if result.is_granted else HTTPStatus.FORBIDDEN
    return ExtensionResponse(status, "application/json", msgspec.json.encode(result))


def _problem(status: HTTPStatus, detail: str) -> ExtensionResponse:
    document = {"title": status.phrase, "status": int(status), "detail": detail}
    return ExtensionResponse(status, "application/problem+json", msgspec.json.encode(document))
