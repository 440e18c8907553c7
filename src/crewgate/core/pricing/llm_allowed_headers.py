"""Refuses header fields of a request to a language model that may change what it costs.

Anthropic's `anthropic-beta` names features that are not part of its API yet. Most of them allow
further members and tools, which `llm_allowed_members` checks; some, such as a longer context, cost
more by themselves. So features that are known to cost nothing pass, and any other is refused like
an unknown member. Google's and Amazon's platforms choose a service tier in fields of their own.
"""

import re
from collections.abc import Iterable

from crewgate.core.pricing.editable_json import printable_name
from crewgate.core.pricing.llm_allowed_members import unpriced

_BETA = b"anthropic-beta"
_DATED = re.compile(r"(.+?)-(?:20[0-9]{2}-[0-9]{2}-[0-9]{2}|20[0-9]{6})")
_FREE = frozenset({
    "advanced-tool-use", "cache-diagnosis", "claude-code", "code-execution", "computer-use",
    "context-management", "dev-full-thinking", "effort", "extended-cache-ttl", "fast-mode",
    "files-api", "fine-grained-tool-streaming", "interleaved-thinking", "mcp-client",
    "mid-conversation-tool-changes", "model-context-window-exceeded", "output-128k", "output-300k",
    "pdfs", "prompt-caching", "skills", "structured-outputs", "thinking-token-count",
    "token-counting", "token-efficient-tools", "tool-search-tool", "web-fetch", "web-search",
})  # fmt: skip
# The fields of a service tier, and the value that means the usual tier.
_TIERS = {
    b"x-vertex-ai-llm-request-type": b"",
    b"x-vertex-ai-llm-shared-request-type": b"standard",
    b"x-amzn-bedrock-service-tier": b"default",
    b"x-amzn-bedrock-performanceconfig-latency": b"standard",
}


def check(fields: Iterable[tuple[bytes, bytes]], allow: tuple[str, ...]) -> None:
    """Raise InvalidRequestError for the first field that may change the cost.

    `allow` names the fields and features that pass nevertheless.
    """
    for field, value in fields:
        if field == _BETA:
            for beta in value.decode("latin-1").split(","):
                _check_beta(beta.strip(" \t"), allow)
        elif field in _TIERS and value.strip(b" \t").lower() != _TIERS[field]:
            name = field.decode()
            if name not in allow:
                raise unpriced(f"the field {name}", name)


def _check_beta(beta: str, allow: tuple[str, ...]) -> None:
    dated = _DATED.fullmatch(beta)
    if beta and beta not in allow and not (dated and dated[1] in _FREE):
        raise unpriced(f'"{printable_name(beta)}" in {_BETA.decode()}', beta)
