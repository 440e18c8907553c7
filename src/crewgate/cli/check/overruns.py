"""Tools that were seen to cost more than their price says: no budget holds what nothing bounds."""

from collections.abc import Iterator

from crewgate.audit.filters import AuditFilter, GroupBy
from crewgate.audit.reader import AuditReader
from crewgate.config import Config
from crewgate.core.credits import format_credits
from crewgate.errors import AuditError


def unbounded(config: Config) -> Iterator[str]:
    """A line for each such tool of the configuration, by the audit that this machine has kept."""
    priced = {tool.name for tool in config.tools if tool.tariff is not None}
    if not priced or not config.audit.folder.is_dir():
        return
    audit = AuditReader(config.audit.folder)
    try:
        groups = audit.groups(AuditFilter(), GroupBy.TOOL)
    except AuditError as error:
        yield f"{error}"
        return
    finally:
        audit.close()
    for group in groups:
        if group.key in priced and group.overrun_micro:
            yield (
                f'tool."{group.key}" is unbounded: its answers stated '
                f"{format_credits(group.overrun_micro)} credits more than their calls may cost; "
                "nobody paid for that, and the branches were ended; raise its bound or its rates"
            )
