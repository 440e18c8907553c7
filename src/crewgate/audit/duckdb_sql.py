"""The queries to the audit in SQL: constant texts with a named parameter for every value.

Knows DuckDB's dialect. The columns are the fields of `core/audit/records`.
"""

# ruff: noqa: S608 - statements are made from constants of this file only, never from input

import re
from datetime import UTC, datetime
from enum import Enum
from typing import Final, Literal, get_args, get_origin

import msgspec

from crewgate.audit.filters import AuditFilter, GroupBy
from crewgate.audit.query_results import (
    CallRow,
    GrantRow,
    MintingWatchEvent,
    RecordedRuleStep,
    RejectedConnection,
    RevocationEvent,
)
from crewgate.core.audit.records import Record

# The engine must not download or load extensions by itself; JSON is built in.
ENGINE: Final = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}

_SQL_TYPES: dict[object, str] = {
    datetime: "TIMESTAMP",
    bool: "BOOLEAN",
    int: "BIGINT",
    int | None: "BIGINT",
    str: "VARCHAR",
    tuple[str, ...]: "VARCHAR[]",
    tuple[int, ...]: "BIGINT[]",
}


def _sql_type(hint: object) -> str:
    is_text = get_origin(hint) is Literal or (isinstance(hint, type) and issubclass(hint, Enum))
    return "VARCHAR" if is_text else _SQL_TYPES[hint]


# Lines that an earlier version wrote have `rung` for the `level` of a watch.
COLUMNS: Final = {"kind": "VARCHAR", "rung": "VARCHAR"} | {
    field.name: _sql_type(field.type)
    for record in get_args(Record)
    for field in msgspec.structs.fields(record)
}

# If a line does not fit these types, DuckDB makes a row of NULLs of it, and no error.
_TYPES = ", ".join(f"\"{name}\": '{kind}'" for name, kind in COLUMNS.items())
_LINES = f"""
    lines AS (
        SELECT * FROM read_json(
            $files, format = 'newline_delimited', ignore_errors = true, columns = {{{_TYPES}}}
        )
    )"""

# What a line without a column counts as, by the type of the row's member.
_EMPTY = {str: "''", int: "0", bool: "false", list[str]: "[]", list[int]: "[]"}


def _columns_of(row: type[msgspec.Struct]) -> str:
    return ", ".join(
        f'coalesce("{field.name}", {_EMPTY[field.type]}) AS "{field.name}"'
        if field.type in _EMPTY
        else f'"{field.name}"'
        for field in msgspec.structs.fields(row)
    )


# An open stream has its opening record, and no other record of the same request.
_ROWS = f"""
    WITH {_LINES},
    opened AS (SELECT request FROM lines WHERE kind = 'open'),
    ended AS (
        SELECT request FROM lines
        WHERE kind IN ('call', 'burned') AND request IN (SELECT request FROM opened)
    ),
    matching AS (
        SELECT
            * EXCLUDE (verdict, outcome, reason, cost_micro),
            CASE kind WHEN 'call' THEN verdict ELSE 'permit' END AS verdict,
            CASE kind WHEN 'call' THEN outcome ELSE kind END AS outcome,
            coalesce(reason, cause, '') AS reason,
            CASE kind WHEN 'open' THEN 0 ELSE coalesce(cost_micro, 0) END AS cost_micro
        FROM lines
        WHERE
            (kind IN ('call', 'burned')
             OR (kind = 'open' AND request NOT IN (SELECT request FROM ended)))
            AND ($branch IS NULL OR branch = $branch OR list_contains(ancestry, $branch))
            AND ($crew IS NULL OR crew = $crew)
            AND ($role IS NULL OR role = $role)
            AND ($tool IS NULL OR tool = $tool)
            AND ($prefix IS NULL OR starts_with(tool, $prefix))
            AND ($certificate IS NULL OR certificate = $certificate)
            AND ($grant IS NULL OR "grant" = $grant)
            AND ($subject IS NULL OR subject = $subject)
            AND ($process IS NULL OR process = $process OR starts_with(process, $process || '/'))
            AND ($orchestrator IS NULL OR orchestrator = $orchestrator)
            AND ($request IS NULL OR request = $request)
            AND ($beginning IS NULL OR starts_with(request, $beginning))
            AND (NOT $denied OR (kind = 'call' AND verdict = 'deny'))
            AND (NOT $would_deny OR coalesce(would, '') <> '')
            AND ($since IS NULL OR time >= $since)
    )"""

CALLS: Final = f"""{_ROWS}
    SELECT {_columns_of(CallRow)}
    FROM matching
    WHERE time IS NOT NULL
    ORDER BY time DESC, request DESC
    LIMIT $limit
"""

# The grant of a call, and for each branch above it the grant that was newest at that time. If the
# signer has used the id of the grant for several ones, all of them, the newest last.
GRANTS: Final = f"""
    WITH {_LINES}
    SELECT {_columns_of(GrantRow)}
    FROM lines
    WHERE
        kind = 'grant' AND time IS NOT NULL AND crew = $crew
        AND ("grant" = $grant OR (list_contains($above, branch) AND issued <= $before))
    QUALIFY row_number() OVER (
        PARTITION BY branch, CASE WHEN "grant" = $grant THEN hash(
            tools, quota_micro, path_quota_micro, issued, expires, orchestrator, subject, role,
            process, jkt, x5t
        ) END
        ORDER BY issued DESC, time
    ) = 1
    ORDER BY len(coalesce(ancestry, [])), issued
"""

# The grants of a branch, or of a crew.
GRANT_LIST: Final = f"""
    WITH {_LINES}
    SELECT {_columns_of(GrantRow)}
    FROM lines
    WHERE
        kind = 'grant' AND time IS NOT NULL
        AND ($crew IS NULL OR crew = $crew)
        AND ($branch IS NULL OR branch = $branch)
        AND ($since IS NULL OR time >= $since)
    ORDER BY time DESC, "grant" DESC
    LIMIT $limit
"""

_SUMS = """
        count(*) FILTER (kind = 'call') AS calls,
        count(*) FILTER (kind = 'call' AND verdict = 'permit') AS permitted,
        count(*) FILTER (verdict = 'deny') AS denied,
        count(*) FILTER (coalesce(would, '') <> '') AS would_deny,
        count(*) FILTER (kind = 'open') AS open,
        count(*) FILTER (kind = 'burned') AS burned,
        coalesce(sum(cost_micro) FILTER (kind = 'call'), 0)::BIGINT AS cost_micro,
        coalesce(sum(cost_micro) FILTER (kind = 'burned'), 0)::BIGINT AS burned_micro,
        coalesce(sum(overrun_micro), 0)::BIGINT AS overrun_micro,
        max(quota_micro) AS quota_micro, min(time) AS first, max(time) AS last
"""


def _same(expression: str) -> str:
    """Return SQL for the value that all rows of a group share, or an empty text."""
    return f"CASE WHEN min({expression}) = max({expression}) THEN min({expression}) ELSE '' END"


_KEYS = {
    GroupBy.DAY: "strftime(time::TIMESTAMP, '%Y-%m-%d')",
    GroupBy.MINUTE: "strftime(time::TIMESTAMP, '%Y-%m-%dT%H:%MZ')",
}


def _groups(by: GroupBy) -> str:
    # If two crews use the same branch id, these are two branches.
    of_one_crew = by in (GroupBy.BRANCH, GroupBy.CREW)
    order = "key" if by is GroupBy.DAY else "sum(matching.cost_micro) DESC, calls DESC, key"
    if by is GroupBy.MINUTE:  # a year has half a million
        order = "key DESC LIMIT $limit"
    return f"""{_ROWS}
    SELECT
        coalesce({_KEYS.get(by, by.value)}, '') AS key,
        coalesce({"crew" if of_one_crew else _same("crew")}, '') AS crew,
        coalesce({_same("role")}, '') AS role,
        {"coalesce(max(ancestry[-1]), '')" if by is GroupBy.BRANCH else "''"} AS parent,
        {_SUMS}
    FROM matching
    GROUP BY ALL
    ORDER BY {order}
"""


GROUPS: Final = {by: _groups(by) for by in GroupBy}

TOTAL: Final = f"""{_ROWS}
    SELECT '' AS key, '' AS crew, '' AS role, '' AS parent, {_SUMS} FROM matching
"""

CONNECTIONS: Final = f"""
    WITH {_LINES}
    SELECT {_columns_of(RejectedConnection)}
    FROM lines
    WHERE
        kind = 'connection' AND time IS NOT NULL
        AND ($crew IS NULL OR crew = $crew)
        AND ($certificate IS NULL OR serial = $certificate)
        AND ($since IS NULL OR time >= $since)
    ORDER BY time DESC, serial DESC
    LIMIT $limit
"""

REFUSALS: Final = f"""
    WITH {_LINES}
    SELECT
        listener, reason, peer, sum("count")::BIGINT AS "count",
        min("first") AS "first", max("last") AS "last"
    FROM lines
    WHERE kind = 'refusals' AND ($since IS NULL OR "last" >= $since)
    GROUP BY ALL
    ORDER BY "count" DESC, listener, reason, peer
"""

WATCH: Final = f"""
    WITH {_LINES}
    SELECT {_columns_of(MintingWatchEvent)}
    FROM (
        SELECT * REPLACE (
            CASE step WHEN 'told' THEN 'remote' ELSE step END AS step,
            coalesce(level, rung) AS level
        )
        FROM lines
    )
    WHERE
        kind = 'watch' AND time IS NOT NULL AND level IS NOT NULL
        AND ($crew IS NULL OR crew = $crew)
        AND ($branch IS NULL OR branch = $branch)
        AND ($since IS NULL OR time >= $since)
    ORDER BY time DESC, orchestrator DESC
    LIMIT $limit
"""

# A step of a branch, of one below it, or one that a call of the branch caused above it.
RULE_STEPS: Final = f"""
    WITH {_LINES}
    SELECT {_columns_of(RecordedRuleStep)}
    FROM lines
    WHERE
        kind = 'rule' AND time IS NOT NULL
        AND ($crew IS NULL OR crew = $crew)
        AND ($branch IS NULL OR branch = $branch OR list_contains(ancestry, $branch)
             OR caller = $branch)
        AND ($since IS NULL OR time >= $since)
    ORDER BY time DESC, len(coalesce(ancestry, [])), rule DESC
    LIMIT $limit
"""

# What rules had found about a call: at this call, and before it, the newest first. A step has no
# second record while the branch goes on, so the record may be that of an earlier call.
STEPS_OF_CALL: Final = f"""
    WITH {_LINES}
    SELECT {_columns_of(RecordedRuleStep)}
    FROM lines
    WHERE
        kind = 'rule' AND crew = $crew AND list_contains($path, branch)
        AND (request = $request OR ($is_refused AND step <> 'warn' AND time <= $before))
    ORDER BY request = $request DESC, time DESC, len(coalesce(ancestry, [])) DESC
    LIMIT $limit
"""

REVOCATIONS: Final = f"""
    WITH {_LINES}
    SELECT {_columns_of(RevocationEvent)}
    FROM lines
    WHERE
        kind = 'revocation' AND time IS NOT NULL
        AND ($crew IS NULL OR crew = $crew)
        AND ($branch IS NULL OR branch = $branch OR id = $branch)
        AND ($since IS NULL OR time >= $since)
    ORDER BY time DESC, id DESC
    LIMIT $limit
"""

# The first branch of a path is the run. A revocation of it, or of its subject, ended it.
RUNS: Final = f"""
    WITH {_LINES},
    named AS (
        SELECT *, coalesce(ancestry[1], branch) AS run
        FROM lines
        WHERE
            kind IN ('call', 'open', 'burned', 'grant', 'rule') AND time IS NOT NULL
            AND coalesce(branch, '') <> ''
            AND ($crews IS NULL OR list_contains($crews, crew))
            AND ($since IS NULL OR time >= $since) AND ($until IS NULL OR time < $until)
    ),
    runs AS (
        SELECT
            crew, run,
            coalesce(arg_max(subject, time), '') AS subject,
            coalesce(arg_max(orchestrator, time), '') AS orchestrator,
            min(time) AS first, max(time) AS last,
            count(DISTINCT branch) AS branches,
            count(*) FILTER (kind = 'call' AND verdict = 'permit') AS calls,
            count(*) FILTER (kind = 'call' AND verdict = 'deny') AS refused,
            count(*) FILTER (kind = 'rule') AS rule_steps,
            coalesce(sum(cost_micro) FILTER (kind IN ('call', 'burned')), 0)::BIGINT AS spent_micro,
            max(expires) AS expires
        FROM named
        GROUP BY crew, run
        ORDER BY last DESC, run
        LIMIT $limit
    ),
    ends AS (
        SELECT coalesce(crew, '') AS crew, target, id, time, "by", reason
        FROM lines
        WHERE kind = 'revocation' AND target IN ('branch', 'account', 'subject')
    ),
    ended AS (
        SELECT
            runs.crew, runs.run, min(ends.time) AS ended,
            coalesce(arg_min(ends."by", ends.time), '') AS "by",
            coalesce(arg_min(ends.reason, ends.time), '') AS why
        FROM runs JOIN ends ON
            (ends.target <> 'subject' AND ends.id = runs.run AND ends.crew = runs.crew)
            OR (ends.target = 'subject' AND ends.id = runs.subject
                AND ends.crew IN ('', runs.crew) AND ends.time >= runs.first)
        GROUP BY runs.crew, runs.run
    )
    SELECT runs.*, ended.ended, coalesce(ended."by", '') AS "by", coalesce(ended.why, '') AS why
    FROM runs LEFT JOIN ended USING (crew, run)
    ORDER BY last DESC, run
"""

HEALTH: Final = f"""
    WITH {_LINES}
    SELECT
        coalesce(sum("count") FILTER (
            kind = 'event' AND event = 'audit-recovered' AND ($since IS NULL OR time >= $since)
        ), 0)::BIGINT AS lost_records,
        count(*) FILTER (kind IS NULL) AS unreadable_lines
    FROM lines
"""


def parameters(question: AuditFilter, statement: str) -> dict[str, object]:
    """Return the values of a statement's parameters; DuckDB refuses any others."""
    since = question.since
    values = {
        "branch": question.branch,
        "crew": question.crew,
        "role": question.role,
        "tool": None if question.tool_prefix else question.tool,
        "prefix": question.tool_prefix,
        "certificate": question.certificate,
        "grant": question.grant,
        "subject": question.subject,
        "process": question.process,
        "orchestrator": question.orchestrator,
        "request": None if question.request_beginning else question.request,
        "beginning": question.request_beginning,
        "denied": question.denied,
        "would_deny": question.would_deny,
        "limit": question.limit,
        "since": None if since is None else since.astimezone(UTC).replace(tzinfo=None),
    }
    return {name: value for name, value in values.items() if f"${name}" in statement}


def literal_text(text: str) -> str:
    """Return a text as SQL writes it, for statements that take no parameter."""
    return "'" + text.replace("'", "''") + "'"


def literal_path(path: str) -> str:
    """Return a pattern of `read_json` that matches only `path`, by escaping `*`, `?` and `[`."""
    return re.sub(r"([*?\[])", r"[\1]", path)
