"""Checks that a request comes from the page itself, before anything else reads it.

A foreign page must not act for the person (cross-site request forgery), and a foreign name that
leads to this address must not become the page's origin (DNS rebinding).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from crewgate.config import UIConfig
from crewgate.core import problem_types

_CHANGES: Final = frozenset({"POST", "DELETE"})
_READS: Final = frozenset({"GET", "HEAD"})


class RequestHead(NamedTuple):
    """What the checks need of a request; a comma joins the values of a repeated field."""

    method: str
    path: str
    fields: Mapping[str, str]


def check(head: RequestHead, page: UIConfig, navigated: frozenset[str]) -> None:
    """Raise ControlError unless the page has sent the request.

    `navigated` are the paths to which links of other sites may lead.
    """
    fields = head.fields
    if fields.get("host", "").lower() != page.authority:
        raise problem_types.MISDIRECTED.error(
            "The page is at another host. Compare the host of the request with `url` of [ui]."
        )
    origin = fields.get("origin")
    if (origin is not None or head.method in _CHANGES) and origin != page.url:
        raise problem_types.ORIGIN_NOT_ALLOWED.error("Only the page itself may send requests.")
    site = fields.get("sec-fetch-site", "same-origin")
    is_read = head.method in _READS
    is_typed = site == "none" and is_read and not head.path.startswith("/api/")
    if site == "same-origin" or is_typed:
        return
    is_link = (
        is_read
        and head.path in navigated
        and fields.get("sec-fetch-mode") == "navigate"
        and fields.get("sec-fetch-dest") == "document"
    )
    if not is_link:
        raise problem_types.ORIGIN_NOT_ALLOWED.error("Other sites may not send requests here.")
