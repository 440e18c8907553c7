"""Whether a URL in an argument is for one of some hosts, for every parser of URLs.

Parsers differ in user names, backslashes, white space and forms of IP addresses (RFC 3986; WHATWG
URL). So a URL that has any of these before its path is for no host. The server may still follow a
redirect.
"""

import re
from collections.abc import Iterable

from crewgate import limits

_URL = re.compile(
    r"(https?)://([a-z0-9.-]+)(?::([0-9]{1,5}))?(?:[/?#][^\x00-\x20\x7f\\]*)?",
    re.ASCII | re.IGNORECASE,
)
_STANDARD_PORTS = {"http": "80", "https": "443"}


def is_for_host(url: str, hosts: Iterable[str]) -> bool:
    """Return whether an http or https URL is for one of the hosts.

    Hosts are in lower case. "*.example.com" is each host below example.com. A host without a port
    is at the standard port of the scheme.
    """
    match = _URL.fullmatch(url) if len(url) <= limits.argument_path_chars_max else None
    if match is None:
        return False
    standard = _STANDARD_PORTS[match[1].lower()]
    name, port = match[2].lower(), match[3] or standard
    return any(_is_host(name, port, *_split(host, standard)) for host in hosts)


def _split(host: str, standard: str) -> tuple[str, str]:
    name, _, port = host.partition(":")
    return name, port or standard


def _is_host(name: str, port: str, wanted: str, wanted_port: str) -> bool:
    is_named = name.endswith(wanted[1:]) if wanted.startswith("*.") else name == wanted
    return is_named and port == wanted_port
