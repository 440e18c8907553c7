"""Finds tools whose answers stated more than their calls had reserved, which nobody pays.

Only calls since the last change of the configuration file count, so a raised `max` ends a warning.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

from crewgate.audit.filters import AuditFilter, GroupBy
from crewgate.audit.queries import AuditQueries
from crewgate.config import Config
from crewgate.core.credits import format_credits
from crewgate.errors import AuditReadError


def overrun_warnings(config: Config) -> Iterator[str]:
    """Yield a line for each such tool, from the audit files that this machine has kept."""
    priced = {tool.name for tool in config.tools if tool.tariff is not None}
    if not priced or not config.audit.folder.is_dir():
        return
    try:
        with closing(AuditQueries(config.audit.folder)) as audit:
            since = datetime.fromtimestamp(config.path.stat().st_mtime, UTC)
            groups = audit.groups(AuditFilter(since=since), GroupBy.TOOL)
    except AuditReadError as error:
        yield f"{error}"
        return
    for group in groups:
        if group.key in priced and group.overrun_micro:
            overrun = format_credits(group.overrun_micro)
            yield (
                f'tool."{group.key}": since this file last changed, answers stated {overrun} '
                "credits more than their calls had reserved; nobody paid these credits, and the "
                "gateway ended the branches; raise `max` in the price of the tool"
            )
