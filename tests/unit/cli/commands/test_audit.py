"""`crewgate audit` answers from files, in a table that nothing can drive, or as one document."""

import io
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from audit_records import CHILD, NOON, OTHER, ROOT, deny, grant, permit, rule_step
from click.testing import CliRunner, Result
from msgspec.structs import replace
from rich.console import Console
from rich.text import Text

from crewgate.audit.folder import create
from crewgate.cli import main
from crewgate.cli.commands.init import write_all
from crewgate.cli.output.tables import new_table, print_table
from crewgate.config.load import load
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import (
    ConnectionRecord,
    Record,
    RefusalsRecord,
    RevocationRecord,
    WatchRecord,
)

EVIL = "\x1b[2J[bold]\u202e\x9b31m"
RECORDS: list[Record] = [
    permit(1, ROOT, "lead", "publish.post", 10_000, remaining_micro=2_490_000),
    permit(2, CHILD, "researcher", "search.web", 20_000),
    deny(3, CHILD, "researcher", "publish.post", "tool-not-allowed"),
    permit(4, OTHER, EVIL, "search.web", 0, would="credits-exhausted"),
    RefusalsRecord(
        time=NOON, listener="agents", reason="invalid-token", peer="*", count=7,
        first=NOON, last=NOON,
    ),
    grant(CHILD, "researcher", 0, path_quota_micro=(9_000_000,), jkt="A" * 43),
]  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose audit folder holds the records."""
    path = write_all(tmp_path / "gate", 8443)
    descriptor, _ = create(load(path).audit.folder, "worker-1", 1_800_000_000_000_000_000)
    os.write(descriptor, b"".join(map(encode, RECORDS)) + b'{"kind":"ca')
    os.close(descriptor)
    return path


def run(config: Path, *arguments: str) -> Result:
    """The command as typed."""
    return CliRunner().invoke(main, ["audit", "-c", str(config), *arguments])


def test_the_table_says_who_what_which_grant_and_what_cost(config: Path) -> None:
    """Each row carries the thread, its grant, the tool, the verdict and the credits."""
    result = run(config)
    assert result.exit_code == 0
    [row] = [line for line in result.stdout.splitlines() if "deny" in line and CHILD in line]
    assert row.split() == [
        "2026-11-24",
        "12:00:03.000",
        "article/researcher",
        CHILD,
        "grant-researcher",
        "user_1",
        "publish.post",
        "deny",
        "tool-not-allowed",
        "refused",
        "0.00",
    ]
    assert "4 calls: 3 permitted, 1 denied; cost 0.03 credits" in result.stdout
    assert "skipped 1 incomplete or damaged line\n" in result.stdout
    assert "would: credits-exhausted" in result.stdout
    assert "invalid-token" in result.stdout


def test_nothing_in_a_record_drives_the_terminal(config: Path) -> None:
    """ANSI, C1 and bidirectional text are shown as codes, and square brackets are no markup."""
    for arguments in [(), ("--by", "role"), ("--by", "branch"), ("--json",)]:
        result = run(config, *arguments)
        assert not {"\x1b", "\x9b", "\u202e"} & set(result.stdout)
        assert "[2J[bold]" in result.stdout


def test_json_is_one_document_with_every_field(config: Path) -> None:
    """A script finds rows, sums, strangers and what is missing in one object."""
    result = run(config, "--json", "--branch", ROOT)
    answer = json.loads(result.stdout)
    assert [row["role"] for row in answer["calls"]] == ["lead", "researcher", "researcher"]
    assert answer["calls"][0]["remaining_micro"] == 2_490_000
    assert answer["total"]["cost_micro"] == 30_000
    assert answer["health"]["unreadable_lines"] == 1
    assert answer["refusals"] == []


def test_sums_by_branch(config: Path) -> None:
    """`--by` lists one line a group, the most expensive first."""
    answer = json.loads(run(config, "--by", "branch", "--json").stdout)
    assert [(group["key"], group["cost_micro"]) for group in answer["groups"]] == [
        (CHILD, 20_000),
        (ROOT, 10_000),
        (OTHER, 0),
    ]
    table = run(config, "--by", "branch").stdout
    [row] = [line for line in table.splitlines() if line.startswith(CHILD)]
    assert row.split() == [
        CHILD, "article/researcher", ROOT, "2", "1", "1", "0", "0", "0.02", "0.00", "2.50",
    ]  # fmt: skip


def test_what_nobody_paid_has_a_column_where_there_is_any(config: Path) -> None:
    """An answer may state more than its call had reserved: the audit says where that was."""
    assert "overrun" not in run(config).stdout
    over = permit(5, CHILD, "researcher", "models.chat", 50_000, overrun_micro=1_250_000, model="m")
    descriptor, _ = create(load(config).audit.folder, "worker-2", 1_800_000_000_000_000_001)
    os.write(descriptor, encode(over))
    os.close(descriptor)
    listed = run(config).stdout
    head, *rows = listed.splitlines()
    assert head.split()[-4:] == ["cost", "overrun", "lease", "left"]
    assert [row.split()[-2:] for row in rows if "models.chat" in row] == [["0.05", "1.25"]]
    assert "answers stated 1.25 credits more than was reserved; nobody paid them" in listed
    sums = run(config, "--by", "branch").stdout.splitlines()
    assert sums[0].split()[-4:] == ["burned", "overrun", "of", "quota"]
    assert [row.split()[-2] for row in sums if row.startswith(CHILD)] == ["1.25"]
    [call] = [c for c in json.loads(run(config, "--json").stdout)["calls"] if c["overrun_micro"]]
    assert (call["overrun_micro"], call["model"], call["tokens_in"]) == (1_250_000, "m", 0)


def test_a_limit_says_that_there_is_more(config: Path) -> None:
    """Nobody takes the newest rows for all rows."""
    assert "3 older ones are not listed" in run(config, "--limit", "1").stdout


def test_one_call_is_counted_as_one(config: Path) -> None:
    """The footer has no plural of one."""
    assert "1 call: 0 permitted, 1 denied" in run(config, "--denied").stdout
    assert "1 file, " in run(config).stdout


def test_before_the_first_call_the_answer_is_empty(tmp_path: Path) -> None:
    """A fresh installation can be asked too."""
    result = run(write_all(tmp_path / "gate", 8443))
    assert result.exit_code == 0
    assert "0 calls" in result.stdout
    assert "grep" not in result.stdout


def test_revocations_are_listed_with_who_and_why(config: Path) -> None:
    """A branch without calls says how to find them; reasons are text, and no markup."""
    branch = "00000000-0000-4000-8000-000000000099"
    who = {"crew": "article", "orchestrator": "", "process": "", "role": "lead", "branch": branch}
    revoked = RevocationRecord(
        **who, time=NOON, target="branch", id=branch, by="operator/ada", reason=EVIL,
        cut_us=3000, cuts=2, workers=1,
    )  # fmt: skip
    later = NOON + timedelta(seconds=1)
    remote = replace(
        revoked, time=later, by="gateway/gw-2", reason="", cuts=0, cut_us=None, workers=0
    )
    other = replace(revoked, branch="", role="", target="crew", id="bd", crew="bd", by="owner")
    descriptor, _ = create(load(config).audit.folder, "agent", 1_800_000_000_000_000_000)
    os.write(descriptor, b"".join(map(encode, (revoked, remote, other))))
    os.close(descriptor)
    last = run(config, "--branch", branch).stdout.splitlines()[-1]
    assert last == "the branch made no call; with --revocations, see whether it was revoked"
    shown = run(config, "--revocations", "--branch", branch).stdout
    first, second = (line for line in shown.splitlines() if branch in line)
    for text in ("article/lead", "operator/ada", "2 in 3.0 ms"):
        assert text in first
    assert "gateway/gw-2" in second
    assert not {"\x1b", "\u202e", "\x9b"} & set(shown)
    assert "crew bd" not in shown
    document = json.loads(run(config, "--revocations", "--crew", "bd", "--json").stdout)
    (row,) = document["revocations"]
    assert (row["target"], row["by"], row["cuts"]) == ("crew", "owner", 2)
    assert "--revocations" not in run(config, "--branch", CHILD).stdout
    assert run(config, "--revocations", "--since", "1d").stdout == "nothing was revoked\n"


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        (("--since", "yesterday"), "write 30s, 10m, 2h, 1d"),
        (("--tool", "Search!"), "write search.web or 'search.*'"),
        (("--by", "colour"), "branch"),
        (("--limit", "-1"), "0<=x<="),
        (("--rules", "--tool", "search.web"), "--rules goes only with --crew, --branch"),
        (("--rules", "--watch"), "goes only with --crew, --branch, --since and --limit"),
        (("--watch", "--denied"), "--watch goes only with --crew, --branch, --since and --limit"),
        (("--revocations", "--by", "day"), "--revocations goes only with --crew, --branch"),
        (("--revocations", "--watch"), "goes only with --crew, --branch"),
        (("--connections", "--revocations"), "--revocations goes only with --crew"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    config: Path, arguments: tuple[str, ...], mend: str
) -> None:
    """What was wrong and how to write it."""
    result = run(config, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert mend in result.stderr
    assert result.stderr.count("\n") == 1


WATCH = WatchRecord(
    time=NOON, crew="article", orchestrator="article/one", step="strike", was="observe",
    level="throttle", in_force="observe", by="watch", branch=CHILD,
    measure="micro-credits-per-minute", value=26_500_000, limit=25_000_000, usual=3_000_000,
)  # fmt: skip
LIFTED = WatchRecord(
    time=NOON, crew="article", orchestrator=EVIL, step="lifted", was="quarantine",
    level="observe", in_force="observe", by="owner",
)  # fmt: skip


REMOTE = replace(LIFTED, step="remote", was="observe", level="quarantine", by="gateway/gw-2")


@pytest.fixture
def watched(config: Path) -> Path:
    """The same, with what a minting watch saw and did."""
    descriptor, _ = create(load(config).audit.folder, "agent", 1_800_000_000_000_000_000)
    os.write(descriptor, encode(WATCH) + encode(LIFTED) + encode(REMOTE))
    os.close(descriptor)
    return config


def test_the_watch_is_listed_with_what_was_out_of_bounds(watched: Path) -> None:
    """Where it stands, what is in force, why, and the branch; credits as people write them."""
    result = run(watched, "--watch")
    assert result.exit_code == 0
    (row,) = [line for line in result.stdout.splitlines() if CHILD in line]
    for text in ("article/one", "strike", "observe → throttle", "limit 25.00, usual 3.00"):
        assert text in row
    assert "by a person on the machine" in result.stdout
    assert "by gateway/gw-2" in result.stdout
    assert not {"\x1b", "\u202e", "\x9b"} & set(result.stdout)
    assert "search.web" not in result.stdout


def test_the_watch_as_one_document(watched: Path) -> None:
    """A script gets every field."""
    document = json.loads(run(watched, "--watch", "--json").stdout)
    assert [each["step"] for each in document["watch"]] == ["remote", "lifted", "strike"]
    assert document["watch"][2]["value"] == WATCH.value
    assert document["watch"][0]["usual"] is None


def test_a_watch_that_saw_nothing_says_so(config: Path) -> None:
    """An empty table would look like a fault."""
    assert run(config, "--watch").stdout == "the minting watch saw nothing unusual\n"
    document = json.loads(run(config, "--watch", "--json").stdout)
    assert (document["watch"], document["not_asked"], len(document["machines"])) == ([], [], 1)


def test_a_narrow_screen_breaks_between_facts_and_never_an_id() -> None:
    """80 columns: several lines a call, each fact with its name, each id in one piece."""
    narrow = Console(file=io.StringIO(), width=80)
    table = new_table("time (UTC)", "branch", "grant", "verdict", "lease left")
    table.add_row(*map(Text, ("12:00:03.000", ROOT, CHILD, "permit", "")))
    print_table(narrow, table)
    assert isinstance(narrow.file, io.StringIO)
    assert narrow.file.getvalue().splitlines() == [
        f"time (UTC) 12:00:03.000  branch {ROOT}",
        f"  grant {CHILD}  verdict permit",
    ]


@pytest.fixture
def looped(config: Path) -> Path:
    """The same, with what rules on branches found and did."""
    records: list[Record] = [
        rule_step(12, CHILD, "researcher", "same-call", "refuse", 10),
        rule_step(12, ROOT, "", "same-call", "refuse", 10, caller=CHILD),
        deny(12, CHILD, "researcher", "search.web", "loop-detected"),
        deny(13, CHILD, "researcher", "search.web", "loop-detected"),
        rule_step(
            14, ROOT, EVIL, "spend", "end", 26_500_000,
            rule_kind="credits-per-minute", limit=25_000_000, mode="observe",
        ),
    ]  # fmt: skip
    descriptor, _ = create(load(config).audit.folder, "worker-3", 1_800_000_000_000_000_000)
    os.write(descriptor, b"".join(map(encode, records)))
    os.close(descriptor)
    return config


def test_steps_of_rules_are_listed(looped: Path) -> None:
    """What a rule counted, at which call; what it only would have done says so."""
    head, own, above, spent = run(looped, "--rules").stdout.splitlines()
    assert head.split()[-2:] == ["called", "by"]
    words = ["same-call", "refuse", "10", "10", "search.web", "request-12"]
    assert own.split()[2:] == ["article/researcher", CHILD, *words]
    assert above.split()[2:] == ["article", ROOT, *words, CHILD]
    assert "would end" in spent
    assert "26.50  25.00" in spent
    assert not {"\x1b", "\u202e", "\x9b"} & set(spent)
    document = json.loads(run(looped, "--rules", "--json", "--branch", CHILD).stdout)
    assert [each["limit"] for each in document["rules"]] == [10, 10]
    none = run(looped, "--rules", "--crew", "bd").stdout
    assert none == "no rule on branches took a step\n"


def test_explain_says_in_words_why_a_rule_refused(looped: Path) -> None:
    """Also of a later refusal, which has no record of the step."""
    lines = explain(looped, "request-12").stdout.splitlines()
    counted = "same-call counted 10 equal calls in a row; it refuses calls from 10 on"
    assert f"rule        {counted}" in lines
    lines = explain(looped, "request-13").stdout.splitlines()
    at = lines.index(f"rule        {counted}")
    assert lines[at + 1] == "            since 2026-11-24 12:00:12.000 UTC, call request-12"
    assert not [line for line in explain(looped, "request-3").stdout.splitlines() if "rule" in line]


@pytest.fixture
def crossed(config: Path) -> Path:
    """The same, with a call over a certificate's connection and connections that were turned away.

    The stranger's words are not proven, and mean to drive a terminal.
    """
    words = {"time": NOON, "listener": "crews", "peer": "192.0.2.0/24"}
    later = {"time": NOON + timedelta(seconds=1)}
    records: list[Record] = [
        permit(5, ROOT, "orchestrator", "finance.quote", 10_000, certificate="0A1B"),
        ConnectionRecord(
            **words, verdict="expelled", reason="certificate-revoked", proven=True, crew="bd",
            orchestrator="bd/bd-1", serial="0A1B", subject="CN=bd-1",
        ),
        ConnectionRecord(
            **words, verdict="refused", reason="unknown-authority", serial="0C", subject=EVIL
        ),
        ConnectionRecord(**words | later, verdict="refused", reason="no-certificate"),
        RefusalsRecord(
            time=NOON, listener="crews", reason="no-certificate", peer="*", count=9,
            first=NOON, last=NOON,
        ),
    ]  # fmt: skip
    folder = load(config).audit.folder
    descriptor, _ = create(folder, "worker-2", 1_800_000_000_000_000_000)
    os.write(descriptor, b"".join(map(encode, records)))
    os.close(descriptor)
    return config


def test_calls_of_a_certificate(crossed: Path) -> None:
    """Found by its serial however it is written, and shown where any call had one."""
    for serial in ("0A1B", "0a:1b", "a1b"):
        answer = json.loads(run(crossed, "--certificate", serial, "--json").stdout)
        assert [call["tool"] for call in answer["calls"]] == ["finance.quote"]
        assert answer["calls"][0]["certificate"] == "0A1B"
        assert answer["total"]["calls"] == 1
        assert not answer["refusals"]
    heads = [
        run(crossed, "--role", role).stdout.split("\n")[0] for role in ("orchestrator", "lead")
    ]
    assert ["certificate" in head for head in heads] == [True, False]
    refused = run(crossed, "--certificate", "bd-1")
    assert refused.exit_code == 2
    assert "not a serial number" in refused.output


def test_connections_that_were_turned_away(crossed: Path) -> None:
    """Who, why, and with which certificate; what was only counted is counted here."""
    answer = json.loads(run(crossed, "--connections", "--json").stdout)
    assert [(row["verdict"], row["serial"], row["proven"]) for row in answer["connections"]] == [
        ("expelled", "0A1B", True),
        ("refused", "0C", False),
        ("refused", "", False),
    ]
    assert [(one["reason"], one["count"]) for one in answer["counted"]] == [("no-certificate", 9)]
    table = run(crossed, "--connections").stdout
    assert "expelled certificate-revoked" in table
    assert table.count("(unproven)") == 1
    [nobody] = [line for line in table.splitlines() if "refused no-certificate" in line]
    assert nobody.split()[-1] == "-"
    assert "9 more were only counted: no-certificate at crews" in table
    assert "invalid-token" not in table
    assert not {"\x1b", "\x9b", "\u202e"} & set(table)
    for filters in (("--crew", "bd"), ("--certificate", "0A1B"), ("--limit", "1", "--crew", "bd")):
        answer = json.loads(run(crossed, "--connections", *filters, "--json").stdout)
        assert [row["serial"] for row in answer["connections"]] == ["0A1B"]
        assert not answer["counted"]
    none = run(crossed, "--connections", "--since", "2030-01-01T00:00:00Z").stdout
    assert "no connection was refused" in none


@pytest.mark.parametrize("other", [("--tool", "search.web"), ("--by", "crew"), ("--denied",)])
def test_connections_have_no_tools(crossed: Path, other: tuple[str, ...]) -> None:
    """A filter that no connection could meet is refused, not ignored."""
    result = run(crossed, "--connections", *other)
    assert result.exit_code == 2
    assert "--connections goes only with" in result.output


def explain(config: Path, *arguments: str) -> Result:
    """`crewgate audit explain` as typed."""
    return CliRunner().invoke(main, ["audit", "explain", "-c", str(config), *arguments])


def test_explain_shows_the_chain_behind_a_call(config: Path) -> None:
    """The person first, the call last, and what each branch was allowed; it fits 80 columns."""
    result = explain(config, "request-2")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "asked by    user_1, as the orchestrator states",
        "signed by   orchestrator article/one, with key article-1",
        f"run         {ROOT}",
        "            this machine has not recorded its grant",
        "            9.00 credits, as the grant below states",
        f"branch      {CHILD}",
        "            role researcher, process pid_1 (stated)",
        "            may use search.*",
        "            may spend 2.50 credits",
        "            grant grant-researcher",
        "            from 2026-11-24 12:00:00 to 2026-11-24 12:15:00 UTC",
        f"            bound to the key with thumbprint {'A' * 43}",
        "call        request-2",
        "            2026-11-24 12:00:02.000 UTC, POST search.web",
        "            at listener agents, from 192.0.2.0/24",
        "            permitted, done, cost 0.02 credits",
    ]
    document = json.loads(explain(config, "request-2", "--json").stdout)
    assert document["branches"][1]["grant"]["quota_micro"] == 2_500_000
    assert "refused: tool-not-allowed" in explain(config, "request-3").stdout


def test_explain_takes_the_beginning_of_an_id(config: Path) -> None:
    """If it can stand for several calls, the command lists them; a listing shows them all."""
    ids = ["de44f13a-0000-4000-8000-000000000001", "de44f13a-0000-4000-8000-000000000002"]
    descriptor, _ = create(load(config).audit.folder, "worker-2", 1_800_000_001_000_000_000)
    os.write(descriptor, b"".join(encode(replace(RECORDS[1], request=each)) for each in ids))
    os.close(descriptor)
    assert f"call        {ids[1]}" in explain(config, ids[1][:-1] + "2").stdout.splitlines()
    several = explain(config, "de44f13a")
    assert several.exit_code == 2
    assert "de44f13a may be one of 2 calls; write more of the id:" in several.stderr
    assert all(f"  {each}  2026-11-24 12:00" in several.stderr for each in ids)
    found = json.loads(run(config, "--request", "de44f13a", "--json").stdout)["calls"]
    assert [each["request"] for each in found] == ids
    (last,) = json.loads(run(config, "--request", ids[1], "--json").stdout)["calls"]
    assert last["request"] == ids[1]
    unknown = explain(config, "de44f13b")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "no call de44f13b in" in unknown.stderr


def test_explain_says_where_a_revocation_is_listed(config: Path) -> None:
    """The record of a call has no name of who ended its branch."""
    descriptor, _ = create(load(config).audit.folder, "worker-2", 1_800_000_001_000_000_000)
    os.write(descriptor, encode(replace(RECORDS[2], request="late", reason="branch-revoked")))
    os.close(descriptor)
    *_, refused, where = explain(config, "late").stdout.splitlines()
    assert refused.strip() == "refused: branch-revoked"
    assert where.strip() == "`crewgate revocations` says who revoked it, and why"


def test_explain_says_who_named_the_subject_and_who_answers(config: Path) -> None:
    """As far as the configuration knows the identity provider and a sponsor of the crew."""
    table = '[identity_provider.user_1]\nissuer = "i"\naudience = ["a"]\njwks = "j"\n'
    text = config.read_text().replace("[crew.article]\n", '[crew.article]\nsponsor = "team"\n')
    config.write_text(f"{text}{table}")
    descriptor, _ = create(load(config).audit.folder, "worker-2", 1_800_000_001_000_000_000)
    os.write(descriptor, encode(replace(RECORDS[1], request="of-ada", subject="user_1:ada")))
    os.close(descriptor)
    first, second, *_ = explain(config, "of-ada").stdout.splitlines()
    assert first == "asked by    user_1:ada, whom identity provider user_1 has named"
    assert second == "sponsor     team, who answers for crew article"
    document = json.loads(explain(config, "of-ada", "--json").stdout)
    assert (document["identity_provider"], document["sponsor"]) == ("user_1", "team")
    assert "as the orchestrator states" in explain(config, "request-2").stdout


def test_explain_shows_no_text_that_drives_the_terminal(config: Path) -> None:
    """Roles come from tokens of old versions too."""
    assert "\x1b" not in explain(config, "request-4").stdout


def test_explain_says_what_it_lacks(config: Path) -> None:
    """An unknown request has status 1; options before the word `explain` have no effect."""
    unknown = explain(config, "request-9")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "no call request-9 in" in unknown.stderr
    before = run(config, "--crew", "article", "explain", "request-2")
    assert (before.exit_code, before.stdout) == (2, "")
    assert "write --crew after the word explain" in before.stderr
    assert run(config, "explain", "request-2").stdout == explain(config, "request-2").stdout
    assert CliRunner().invoke(main, ["audit", "explain", "request-2"]).exit_code == 2
    assert CliRunner().invoke(main, ["audit"]).exit_code == 2
