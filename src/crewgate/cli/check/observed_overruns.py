"""Finds tools whose answers cost more than their price says, so that no budget can hold."""

from collections.abc import Iterator
from contextlib import closing

from crewgate.audit.filters import AuditFilter, GroupBy
from crewgate.audit.reader import AuditReader
from crewgate.config import Config
from crewgate.core.credits import format_credits
from crewgate.errors import AuditError


def overrun_warnings(config: Config) -> Iterator[str]:
    """Yield a line for each such tool, from the audit files that this machine has kept."""
    priced = {tool.name for tool in config.tools if tool.tariff is not None}
    if not priced or not config.audit.folder.is_dir():
        return
    try:
        with closing(AuditReader(config.audit.folder)) as audit:
            groups = audit.groups(AuditFilter(), GroupBy.TOOL)
    except AuditError as error:
        yield f"{error}"
        return
    for group in groups:
        if group.key in priced and group.overrun_micro:
            overrun = format_credits(group.overrun_micro)
            yield (
                f'tool."{group.key}" is unbounded: its answers stated {overrun} credits more than '
                "its calls may cost; nobody paid these credits, and the gateway ended the "
                "branches; raise its maximum or its rates"
            )
