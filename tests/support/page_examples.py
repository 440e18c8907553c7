"""Made-up branches, machines and alerts for tests and pictures of the live page."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

MICRO = 1_000_000
Row = dict[str, Any]
LOOPING = "63da7825-096e-43be-b586-53bb2504922f"
RUN = "b819a180-79d4-463e-9447-c85544f8830b"
ADA, GRACE = "ada@example.com", "grace@example.com"
MACHINES = ("gw-1", "gw-2", "gw-3")
# What a name can hold that a page must not obey.
HOSTILE = (
    "<img src=x onerror=window.canary=1>",
    "javascript:window.canary=1",
    "admin\u202egnp.exe\u2066",
    "zero\u200bwidth\u00ad\ufeff",
    "line\nfeed\u2028and \x1b[31mred\x00",
    "x" * 10_000,
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢",
    "</script><script>window.canary=1</script>",
    "'\"`${window.canary=1}",
    "../../%2e%2e?a=b#c/d",
)


def uuid_of(number: int) -> str:
    """An id that is the same in each run."""
    return str(UUID(int=Random(number).getrandbits(128), version=4))


def crew(n: int, name: str, **members: Any) -> Row:
    return {"n": n, "crew": name, "branch": "", "machines": [*MACHINES], **members}


def branch(n: int, name: str, role: str, quota: float, spent: float, **members: Any) -> Row:
    """A branch; quota and spent are in credits."""
    quota_micro, spent_micro = round(quota * MICRO), round(spent * MICRO)
    row = {
        "n": n, "crew": name, "branch": uuid_of(n), "role": role,
        "orchestrator": f"{name}/{name}-1", "quota": quota_micro, "spent": spent_micro,
        "left": max(0, quota_micro - spent_micro),
        "machines": ["gw-1"], "process": f"host-1/{4000 + n}", "grant": f"grant-{n}",
    }  # fmt: skip
    return row | members


def few_rows() -> list[Row]:
    """Two crews with a branch that runs in circles, one that has overdrawn, and some that ended."""
    return [
        crew(1, "article", spent=31_284_000, spent_rate=1_610_000, left_hour=18_716_000),
        branch(2, "article", "editor", 25, 13.9, branch=RUN, subject=ADA, spent_rate=1_410_000,
               reserved=250_000, machines=["gw-1", "gw-2"]),
        branch(3, "article", "researcher", 10, 9.42, branch=LOOPING, parent=RUN, subject=ADA,
               spent_rate=1_260_000, reserved=120_000, left=460_000, calls=63, machines=["gw-2"],
               rule="same-call", rule_step="end", rule_mode="observe"),
        branch(4, "article", "drafter", 5, 1.2, parent=RUN, subject=ADA, spent_rate=110_000),
        branch(5, "article", "fact-checker", 2, 0.31, parent=uuid_of(4), subject=ADA,
               spent_rate=40_000, machines=["gw-3"]),
        branch(6, "article", "translator", 4, 2.75, parent=RUN, subject=ADA, state="expired"),
        branch(7, "article", "editor", 20, 17.384, subject=GRACE, spent_rate=200_000,
               burned=640_000, left=1_976_000, machines=["gw-1", "gw-3"]),
        branch(8, "article", "researcher", 12, 11.6, parent=uuid_of(7), subject=GRACE,
               spent_rate=200_000, burned=400_000, left=0, state="exhausted", machines=["gw-3"]),
        branch(9, "article", "illustrator", 3, 3.02, parent=uuid_of(7), subject=GRACE,
               state="revoked", left=0, overrun=20_000),
        crew(10, "billing", spent=4_105_000, spent_rate=30_000, left_day=95_895_000),
        branch(11, "billing", "reconciler", 8, 3.2, subject=GRACE, spent_rate=30_000, quotas=1,
               level="throttle", orchestrator="billing/nightly", machines=["gw-1"]),
        branch(12, "billing", "reader", 2, 0.905, parent=uuid_of(11), subject=GRACE,
               orchestrator="billing/nightly"),
    ]  # fmt: skip


def many_rows(number: int, *, crews: int = 20, seed: int = 1) -> Iterator[Row]:
    """So many branches and their crews, parents first, three levels deep."""
    random = Random(seed)
    roles = ("researcher", "drafter", "editor", "reader", "fact-checker", "translator")
    names = [f"crew-{at:02}" for at in range(crews)]
    n = 0
    tops: list[Row] = []
    for name in names:
        n += 1
        yield crew(n, name, spent=random.randrange(10**9), spent_rate=random.randrange(10**7))
    for at in range(number):
        n += 1
        above = random.choice(tops) if tops and random.random() < 0.8 else None
        name = above["crew"] if above else names[at % crews]
        quota = random.choice((2, 5, 10, 50))
        row = branch(
            n, name, random.choice(roles), quota, quota * random.random(),
            subject=f"person-{at % 500}@example.com",
            state=random.choices(("live", "expired", "revoked"), (8, 1, 1))[0],
            spent_rate=random.randrange(2_000_000) if random.random() < 0.3 else 0,
            machines=[random.choice(MACHINES)],
        )  # fmt: skip
        if above is not None:
            row["parent"] = above["branch"]
        if above is None or random.random() < 0.3:
            tops.append(row)
        yield row


def hostile_rows() -> list[Row]:
    """A crew and branches whose every text is hostile."""
    rows = [crew(1, HOSTILE[0])]
    for at, text in enumerate(HOSTILE):
        rows.append(
            branch(2 + at, HOSTILE[0], text, 5, 1, branch=f"{text}{at}", subject=text, rule=text,
                   rule_step="warn", rule_mode="observe", orchestrator=text, process=text,
                   grant=text, machines=[text])
        )  # fmt: skip
    return rows


def moment(seconds_ago: float, now: float | None = None) -> str:
    at = datetime.fromtimestamp((now or time.time()) - seconds_ago, UTC)
    return at.isoformat().replace("+00:00", "Z")


def alerts() -> list[dict[str, Any]]:
    """A critical one about the branch that runs in circles, and two more."""
    return [
        {"id": "alert_1", "type": "rule", "timestamp": moment(40), "machine": "gw-2",
         "subject": f"branch/{LOOPING}", "state": "once", "severity": "critical",
         "text": f"gw-2: rule same-call would end branch {LOOPING} (researcher of crew article): "
         "the same call 20 times, the last one of search.web; the limit is 20",
         "next": f"crewgate revoke {LOOPING} --crew article", "crew": "article",
         "data": {"branch": LOOPING, "rule": "same-call", "count": 20}},
        {"id": "alert_2", "type": "branch-credits", "timestamp": moment(130), "machine": "gw-2",
         "subject": f"branch/{LOOPING}", "state": "once", "severity": "warning",
         "text": f"branch {LOOPING} (researcher of crew article) has spent 90 % of its credits",
         "next": "look at its calls: crewgate audit --role researcher --since 10m",
         "crew": "article", "data": {"branch": LOOPING}},
        {"id": "alert_3", "type": "disk", "timestamp": moment(2_400), "machine": "gw-3",
         "subject": "disk", "state": "begins", "severity": "warning",
         "text": "gw-3: disk: degraded: the audit has room for 3 hours",
         "next": "make room on the disk of /var/lib/crewgate", "crew": "", "data": {}},
    ]  # fmt: skip


def machines() -> dict[str, Any]:
    trouble = {
        "component": "disk", "state": "degraded", "since": time.time() - 2_400,
        "why": "the audit has room for 3 hours",
        "mend": "make room on the disk of /var/lib/crewgate", "refuses": False, "passing": False,
    }  # fmt: skip
    return {
        "machines": [
            {"machine": "gw-1", "status": "ok", "waiting_for": [], "troubles": []},
            {"machine": "gw-2", "status": "ok", "waiting_for": [], "troubles": []},
            {"machine": "gw-3", "status": "degraded", "waiting_for": [], "troubles": [trouble]},
        ],
        "asked": "gw-1", "not_asked": [],
    }  # fmt: skip


def access() -> dict[str, Any]:
    tokens = {"lifetime_seconds": 900, "depth": 3, "binding": "optional"}
    roles = [
        {"role": "editor", "tools": ["search.*", "pages.read"], "credits_micro": 25 * MICRO},
        {"role": "researcher", "tools": ["search.*"], "credits_micro": None},
    ]
    article = {
        "crew": "article", "sponsor": ADA, "tools": ["search.web", "pages.read"],
        "credits_micro": 25 * MICRO, "credits_per_hour_micro": 50 * MICRO,
        "credits_per_day_micro": None, "watch": "observe", **tokens,
        "roles": [role | tokens for role in roles],
        "orchestrators": [{"orchestrator": "article/article-1", "tools": ["*"],
                           "credits_micro": 25 * MICRO, **tokens}],
    }  # fmt: skip
    return {
        "people": [
            {"access": "oncall", "groups": ["sre"], "people": [], "rights": ["view", "operate"],
             "crews": ["article"]},
            {"access": "finance", "groups": [], "people": [GRACE], "rights": ["view", "budget"],
             "crews": ["*"]},
        ],
        "operators": True,
        "crews": [article],
    }  # fmt: skip


def session(**rights: list[str]) -> dict[str, Any]:
    """What the person may do; without arguments, everything."""
    every = {"view": ["*"], "operate": ["*"], "budget": ["*"], "ca": ["*"]}
    return {
        "person": f"person/{ADA}", "name": ADA, "how": "login", "rights": rights or every,
        "ends": int(time.time()) + 7 * 3600, "machine": "gw-1", "crews": ["article", "billing"],
    }  # fmt: skip


def details(row: Row) -> dict[str, Any]:
    """What `/api/branch` knows of a branch: it repeats one call again and again."""
    now = time.time()
    call = {
        "machine": "gw-2", "crew": row["crew"], "branch": row["branch"], "tool": "search.web",
        "verdict": "permit", "outcome": "ok", "reason": "", "would": "", "cost_micro": 20_000,
    }  # fmt: skip
    calls = [
        call | {"time": moment(2 + at, now), "call_digest": "same" if at < 14 else f"other {at}",
                "tool": "search.web" if at < 14 else "pages.read"}
        for at in range(20)
    ]  # fmt: skip
    minute = int(now // 60)
    spend = [[minute - 29 + at, 90_000 + at * 3_000] for at in range(19)]
    spend += [[minute - 10 + at, 300_000 + at * 97_000] for at in range(11)]
    return {
        "calls": calls[::-1],
        "grants": [{"tools": ["search.web", "search.news", "pages.read"],
                    "quota_micro": row.get("quota", 0), "issued": moment(600, now),
                    "expires": moment(-300, now), "grant": "grant-3", "jkt": "a key", "x5t": ""}],
        "rules": [{"time": moment(40, now), "machine": "gw-2", "rule": "same-call",
                   "rule_kind": "same-call", "step": "end", "mode": "observe", "count": 20,
                   "limit": 20, "tool": "search.web"}],
        "revocations": [],
        "spend": spend,
        "machines": [*MACHINES],
        "not_asked": [],
    }  # fmt: skip
