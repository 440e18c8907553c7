"""Reads the header field Retry-After (RFC 9110, section 10.2.3)."""

from datetime import UTC
from email.utils import parsedate_to_datetime

_DIGITS_MAX = 9  # 30 years; more digits are no more seconds to anyone


def retry_after_seconds(text: str, now: float) -> float | None:
    """Return the seconds until a retry, 0 or more; None if the text has no time.

    `now` is in seconds since 1970.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:_DIGITS_MAX])
    try:
        moment = parsedate_to_datetime(text)
    except (OverflowError, ValueError):
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(moment.timestamp() - now, 0.0)
