import json
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from authority import Authority
from cli_runner import Run
from machine_certificate import signed_at

from crewgate.agent.active_config import watched
from crewgate.cli.backup.inventory import BackupItem, BackupKind, inventory
from crewgate.cli.check.permissions import SecretFile, secrets
from crewgate.config import load
from crewgate.issuer import SigningKey


def check(run: Run, config: Path) -> tuple[list[str], list[str]]:
    """Problems and warnings, and the status that goes with them."""
    result = run("check", "-c", config, "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == (2 if document["problems"] else 0)
    return document["problems"], document["warnings"]


def test_a_fresh_set_up_has_one_warning_about_one_user(run: Run, fresh: Path) -> None:
    """Nothing is wrong; that gateway and crew keys have one owner is said."""
    problems, warnings = check(run, fresh)
    assert problems == []
    (warning,) = warnings
    assert "owns the keys of the gateway" in warning
    assert "and crew article" in warning


def test_the_text_for_people_says_the_same(run: Run, fresh: Path) -> None:
    """Without --json each finding is a line, and the verdict comes last."""
    result = run("check", "-c", fresh)
    assert result.exit_code == 0
    *found, verdict = result.stdout.splitlines()
    assert [line.split(":")[0] for line in found] == ["warning", "hint"]
    assert verdict.endswith(": valid; see the warnings above")


def test_a_key_that_others_can_read_is_told(run: Run, fresh: Path) -> None:
    """A readable gateway key is a warning; a readable signing key is refused like at mint."""
    config = load(fresh)
    config.listeners[0].key.chmod(0o644)
    signing = config.crews[0].signing_key
    assert signing
    signing.chmod(0o640)
    problems, warnings = check(run, fresh)
    assert any("other users can read this signing key (mode 0640)" in text for text in problems)
    assert any("gateway.key: a secret of the gateway" in text for text in warnings)


def test_a_crew_that_looks_like_an_operator_is_told(run: Run, fresh: Path) -> None:
    """An installation of an earlier version may have one, so it is no problem."""
    text = fresh.read_text()
    fresh.write_text(text.replace("[crew.article", "[crew.operator"))
    problems, warnings = check(run, fresh)
    assert problems == []
    (warning,) = (each for each in warnings if each.startswith("crew.operator: "))
    assert "look like operators: the audit names both operator/NAME" in warning
    assert "rename the crew" in warning


def test_sealing_keys_are_read_unless_serve_makes_them(run: Run, fresh: Path) -> None:
    """The file in the state folder comes with the first start; a named one must be there."""
    text = fresh.read_text()
    fresh.write_text(f'sealing_keys = "shared.keys"\n{text}')
    shared = fresh.parent / "shared.keys"
    (problem,), _ = check(run, fresh)
    assert problem.startswith(f"{shared}: the sealing keys cannot be read")
    shared.write_text(f"{'01' * 32}\n")
    shared.chmod(0o640)
    problems, warnings = check(run, fresh)
    assert problems == []
    assert any(f"{shared}: a secret of the gateway" in text for text in warnings)


def test_the_key_of_a_card_is_read(run: Run, fresh: Path) -> None:
    """It is a secret of the gateway; a backup has it too."""
    endpoint = '[a2a.helper]\npath = "/a2a"\nupstream = "tools"\nprice = "0"\n'
    fresh.write_text(f'{fresh.read_text()}\n{endpoint}card_key = "card.key"\n')
    key = fresh.parent / "card.key"
    (problem,), _ = check(run, fresh)
    assert problem.startswith(f"a2a helper: {key}: cannot read the signing key")
    SigningKey.generate("any").write(key)
    assert check(run, fresh)[0] == []
    config = load(fresh)
    assert SecretFile("the gateway", key) in secrets(config)
    assert BackupItem(BackupKind.KEY, key) in inventory(config)
    assert key in watched(config)


def test_what_anyone_may_replace_is_told(run: Run, fresh: Path) -> None:
    """A JWKS that anyone can write makes anyone an orchestrator; so does its folder."""
    jwks = load(fresh).crews[0].jwks
    jwks.chmod(0o666)
    jwks.parent.chmod(0o777)
    _, warnings = check(run, fresh)
    assert f"{jwks}: anyone may write it; chmod o-w" in warnings
    assert f"{jwks.parent}: anyone may replace {jwks.name} there; chmod o-w" in warnings
    jwks.parent.chmod(0o777 | stat.S_ISVTX)
    _, warnings = check(run, fresh)
    assert not any("anyone may replace" in text for text in warnings)


def test_a_state_folder_that_anyone_may_write_is_told(run: Run, fresh: Path) -> None:
    """Whoever can replace the agent's socket or the audit can pass for the gateway."""
    state = load(fresh).state
    state.mkdir(mode=0o710, exist_ok=True)
    assert not any(str(state) in text for text in check(run, fresh)[1])
    state.chmod(0o777)
    assert f"{state}: anyone may put files there; chmod o-w" in check(run, fresh)[1]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("certs/gateway.pem", "certs/gateway.pem: No such file or directory; give a PEM chain"),
        ("gateway/gateway.key", "gateway/gateway.key: No such file or directory; give a PEM chain"),
        ("crews/article.jwks.json", "the keys of crew article cannot be read"),
        ("crews/article/signing.key", "crew article: "),
    ],
)
def test_a_missing_file_is_a_problem(run: Run, fresh: Path, name: str, told: str) -> None:
    """Each file that the configuration names is opened, and a missing one is told once."""
    (fresh.parent / name).unlink()
    problems, _ = check(run, fresh)
    assert len(problems) == 1
    assert told in problems[0]


@pytest.mark.parametrize(
    ("days", "problem", "warning"), [(-390, [], "ends in 6 days"), (-400, ["ended on"], "")]
)
def test_a_certificate_near_its_end_is_a_warning_and_past_it_a_problem(
    run: Run, fresh: Path, days: int, problem: list[str], warning: str
) -> None:
    """Nobody learns from their clients that a certificate has ended."""
    signed_at(fresh, datetime.now(UTC) + timedelta(days=days))
    problems, warnings = check(run, fresh)
    assert len(problems) == len(problem)
    assert all(told in text for told, text in zip(problem, problems, strict=True))
    assert any(warning in text for text in warnings)


def test_credentials_that_are_not_there_are_told(
    run: Run, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing variable is a warning (serve may have it), an empty file a problem."""
    text = fresh.read_text()
    where = '[tool."search.web"]'
    monkeypatch.delenv("CREWGATE_TEST_KEY", raising=False)
    env = 'credential = { header = "x-api-key", env = "CREWGATE_TEST_KEY" }\n'
    fresh.write_text(text.replace(where, env + where))
    problems, warnings = check(run, fresh)
    assert problems == []
    assert any("CREWGATE_TEST_KEY is not set here" in told for told in warnings)
    file = 'credential = { header = "x-api-key", file = "secret" }\n'
    fresh.write_text(text.replace(where, file + where))
    (fresh.parent / "secret").write_text("\n")
    (fresh.parent / "secret").chmod(0o600)
    problems, _ = check(run, fresh)
    assert [
        told for told in problems if "the credential of upstream tools is empty" in told
    ] == problems


def test_what_keeps_records_from_a_receiver_is_told(
    run: Run, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files and its package are read, as the export process does; a variable may come later."""
    monkeypatch.delenv("CREWGATE_TEST_KEY", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.proto.trace.v1.trace_pb2", None)
    monkeypatch.delitem(sys.modules, "crewgate.export.otlp_protobuf", raising=False)
    receiver = '[export.{}]\nformat = "otlp"\nurl = "https://otel.example"\n'
    fresh.write_text(
        fresh.read_text()
        + receiver.format("one")
        + 'credential = { header = "authorization", file = "missing" }\n'
        + receiver.format("two")
        + 'tls = { ca = "missing.pem" }\n'
        + receiver.format("three")
        + 'credential = { header = "authorization", env = "CREWGATE_TEST_KEY" }\n'
        + receiver.format("plain").replace("https", "http")
        + 'credential = { header = "authorization", env = "HOME" }\n'
        + receiver.format("near").replace("https://otel.example", "http://127.0.0.1:4318")
        + 'credential = { header = "authorization", env = "HOME" }\n'
        + receiver.format("four")
        + 'encoding = "protobuf"\n'
    )
    problems, warnings = check(run, fresh)
    assert len(problems) == 3
    assert "export one: the credential cannot be read: no file below" in problems[0]
    assert "export two: CA bundle " in problems[1]
    assert "crewgate[otlp]" in problems[2]
    assert (
        "export three: variable CREWGATE_TEST_KEY is not set here; set it for `serve`" in warnings
    )
    readable = [warning for warning in warnings if "without TLS" in warning]
    assert len(readable) == 1
    assert readable[0].startswith("export plain: `credential` goes to otel.example without TLS")


def test_what_keeps_records_from_an_archive_is_told(run: Run, fresh: Path) -> None:
    """Its folder must be there, and the keys of its bucket are read and not shown."""
    archive = '[export.{}]\nformat = "parquet"\n'
    (fresh.parent / "bad.keys").write_text("s3cret")
    (fresh.parent / "there").mkdir()
    fresh.write_text(
        fresh.read_text()
        + archive.format("one")
        + 'folder = "missing"\n'
        + archive.format("two")
        + 'bucket = "s3://audit"\ncredentials = "bad.keys"\n'
        + archive.format("good")
        + 'folder = "there"\n'
    )
    problems, _ = check(run, fresh)
    assert len(problems) == 2
    assert "export one: the folder " in problems[0]
    assert "is missing; make it, or mount its file system" in problems[0]
    assert "bad.keys of `credentials` is not as the tools of Amazon write it" in problems[1]
    assert "s3cret" not in "".join(problems)


def test_what_keeps_alerts_from_a_receiver_is_told(run: Run, fresh: Path) -> None:
    """The secrets are read, and none is shown."""
    folder = fresh.parent
    (folder / "bad.secret").write_text("s3cret")
    receiver = '[alert.{}]\nformat = "{}"\nsecret = "{}"\n'
    fresh.write_text(
        fresh.read_text()
        + receiver.format("one", "webhook", "missing")
        + 'url = "https://alerts.example"\n'
        + receiver.format("two", "webhook", "bad.secret")
        + 'url = "http://alerts.example"\n'
        + receiver.format("three", "slack", "bad.secret")
        + receiver.format("four", "pagerduty", "bad.secret")
    )
    problems, warnings = check(run, fresh)
    assert len(problems) == 3
    assert "alert one: `secret` cannot be read: no file below " in problems[0]
    assert "bad.secret must have 1 to 4 secrets" in problems[1]
    assert "must have the URL of an incoming webhook of Slack" in problems[2]
    assert "s3cret" not in "".join(problems + warnings)
    assert any(each.startswith("alert two: the alerts go to alerts.example") for each in warnings)


def test_patterns_and_tools_that_meet_nothing_are_told(run: Run, fresh: Path) -> None:
    """A ceiling that covers no tool, or a tool that no ceiling covers, is hardly meant."""
    fresh.write_text(fresh.read_text().replace('"publish.*"', '"publsh.*"'))
    _, warnings = check(run, fresh)
    assert 'crew article: "publsh.*" matches no tool of this configuration' in warnings
    mend = "add it to `tools` of a section [crew.NAME]"
    assert f"tool publish.post: no crew may call it; {mend}" in warnings


def test_misspelled_patterns_of_prompts_are_told(run: Run, fresh: Path) -> None:
    """A pattern with a dot allows tools only, and no id has another word after the colon."""
    text = fresh.read_text().replace(
        '"publish.*"]', '"publish.*", "files.prompts.*", "files:prompt.*", "files:prompts.*"]'
    )
    fresh.write_text(f'{text}\n[mcp.files]\npath = "/mcp/files"\nupstream = "tools"\nprice = "0"\n')
    _, warnings = check(run, fresh)
    meant = 'for prompts and resources, write a colon: "files:prompts.*"'
    assert f'crew article: "files.prompts.*" allows tools only; {meant}' in warnings
    assert 'crew article: "files:prompt.*" matches no tool of this configuration' in warnings
    assert not any('"files:prompts.*" matches' in warning for warning in warnings)


def test_a_model_that_needs_a_limit_of_its_clients_is_told(run: Run, fresh: Path) -> None:
    """Where requests set none by themselves, and there is something to be limited."""
    text = fresh.read_text()

    def about(usage: str, model: str) -> list[str]:
        price = f'price = {{ usage = "{usage}", max = "1", model."m-*" = {{ {model} }} }}'
        fresh.write_text(text.replace('price = "0.01"', price, 1))
        return [told for told in check(run, fresh)[1] if "output_tokens" in told]

    rates = 'input = "1", output = "2"'
    (warning,) = about("openai", rates)
    assert warning.startswith(
        'tool search.web: model "m-*" has no output_tokens, so the gateway refuses a request'
    )
    assert about("openai", f"{rates}, output_tokens = 9") == []
    assert about("openai", 'input = "1", output = "0"') == []
    assert about("anthropic", rates) == []


def hints_of(run: Run, file: Path, about: str) -> list[str]:
    """The hints that begin with a word."""
    found = json.loads(run("check", "-c", file, "--json").stdout)["hints"]
    return [hint for hint in found if hint.startswith(about)]


def test_crews_whose_tokens_need_no_key_are_told(run: Run, fresh: Path) -> None:
    """In one hint; a crew that requires keys is not in it."""
    crew = '[crew.bd]\nissuer = "https://bd.example"\njwks = "bd.json"\ntools = ["search.*"]\n'
    (fresh.parent / "bd.json").write_text('{"keys": []}')
    (hint,) = hints_of(run, fresh, "crew")
    assert hint.startswith("crew article: tokens may name no key")
    text = fresh.read_text()
    fresh.write_text(text + crew)
    assert hints_of(run, fresh, "crew")[0].startswith("crews article and bd: tokens may")
    assert 'binding = "optional"' in text
    required = text.replace('binding = "optional"', 'binding = "required"')
    fresh.write_text(required + crew + 'binding = "required"\n')
    assert hints_of(run, fresh, "crew") == []


def test_a_ceiling_that_a_key_can_avoid_is_told(run: Run, fresh: Path) -> None:
    """A key without `orchestrator` signs for whichever orchestrator has no ceiling."""
    text = fresh.read_text()
    fresh.write_text(f'{text}\n[crew.article.orchestrator.night]\ncredits_per_branch = "1"\n')
    (hint,) = hints_of(run, fresh, "crew article: key")
    assert "may sign for every orchestrator" in hint
    jwks = load(fresh).crews[0].jwks
    keys = json.loads(jwks.read_text())
    keys["keys"][0]["orchestrator"] = "article/night"
    jwks.write_text(json.dumps(keys))
    assert hints_of(run, fresh, "crew article: key") == []


def test_crews_that_share_the_connections_to_a_server_are_told(run: Run, fresh: Path) -> None:
    """A hint, not a warning; none where they do not."""
    crew = '[crew.bd]\nissuer = "https://bd.example"\njwks = "bd.json"\ntools = ["search.*"]\n'
    (fresh.parent / "bd.json").write_text('{"keys": []}')
    assert hints_of(run, fresh, "upstream") == []
    text = fresh.read_text() + crew

    def hints(line: str = "") -> list[str]:
        where = "[upstream.tools]\n"
        fresh.write_text(text.replace(where, where + line))
        return hints_of(run, fresh, "upstream")

    (hint,) = hints()
    assert hint.startswith("upstream tools: the crews article and bd use its connections one after")
    assert "hint: upstream tools: the crews" in run("check", "-c", fresh).stdout
    (hint,) = hints('protocol = "h2"\n')
    assert hint.startswith(
        "upstream tools: the crews article and bd use its connections at the same"
    )
    assert "break or stall a connection" in hint
    assert hints('reuse = "crew"\n') == hints('reuse = "crew"\nprotocol = "h2"\n') == []


def test_a_crossing_that_nobody_can_use_is_told(run: Run, fresh: Path) -> None:
    """Without a listener that asks for certificates; with one, its tools have somebody to call."""
    crew = '[crew.bd]\nissuer = "https://bd.example"\njwks = "bd.json"\ntools = []\n'
    (fresh.parent / "bd.json").write_text('{"keys": []}')
    crossing = '[[crossing]]\nfrom = "bd"\nto = "article"\ntools = ["publish.post"]\n'
    text = fresh.read_text().replace('path = "/publish"', 'path = "/publish"\nowner = "article"')
    text = text.replace(', "publish.*"]', "]") + crew + crossing + 'credits_per_hour = "1"\n'
    fresh.write_text(text)
    _, warnings = check(run, fresh)
    assert not [told for told in warnings if "[[crossing]]" in told or "tool publish" in told]
    fresh.write_text(text.replace('client_certificate = "required"', ""))
    _, warnings = check(run, fresh)
    assert [told for told in warnings if "no listener requests client certificates" in told]


def _behind_tls(fresh: Path, tls: str) -> None:
    """Have the fresh set-up's upstream under TLS; `tls` is its table of that name."""
    text = fresh.read_text().replace('url = "http://', 'url = "https://')
    where = '[tool."search.web"]'
    fresh.write_text(text.replace(where, f"[upstream.tools.tls]\n{tls}\n{where}"))


def test_what_a_tls_upstream_needs_is_read(run: Run, fresh: Path) -> None:
    """A pinned authority and a client certificate that can be used are no problem."""
    authority = Authority(fresh.parent)
    mine = authority.issue(common="gateway", days=100)
    _behind_tls(
        fresh, f'ca = "{authority.ca}"\ncertificate = "{mine.certificate}"\nkey = "{mine.key}"'
    )
    problems, warnings = check(run, fresh)
    assert problems == []
    assert not any("gateway-" in text for text in warnings if "owns the keys" not in text)
    mine.key.chmod(0o644)
    authority.ca.chmod(0o666)
    warnings = check(run, fresh)[1]
    assert any(f"{mine.key}: a secret of the gateway" in text for text in warnings)
    assert f"{authority.ca}: anyone may write it; chmod o-w" in warnings


def test_a_bundle_or_client_certificate_that_cannot_be_read_is_told(run: Run, fresh: Path) -> None:
    """Each missing file is a problem that names the upstream and the file, before a call does."""
    text = fresh.read_text()
    _behind_tls(fresh, 'ca = "certs/missing.pem"')
    (problem,) = check(run, fresh)[0]
    missing = fresh.parent / "certs/missing.pem"
    assert problem.startswith(f"upstream tools: CA bundle {missing}: No such file or directory; ")
    fresh.write_text(text)
    _behind_tls(fresh, 'certificate = "certs/missing.pem"\nkey = "certs/missing.key"')
    (problem,) = check(run, fresh)[0]
    start = f"upstream tools: client certificate: {missing}: No such file or directory; "
    assert problem.startswith(start)


@pytest.mark.parametrize(
    ("days", "problem", "warning"), [(-1, "refuse it", ""), (3, "", "ends in")]
)
def test_a_client_certificate_near_its_end_is_told(
    run: Run, fresh: Path, days: int, problem: str, warning: str
) -> None:
    """Past its end a problem, shortly before it a warning."""
    mine = Authority(fresh.parent).issue(common="gateway", days=days)
    _behind_tls(fresh, f'certificate = "{mine.certificate}"\nkey = "{mine.key}"')
    problems, warnings = check(run, fresh)
    assert [problem in text for text in problems] == [True] * bool(problem)
    assert all(str(mine.certificate) in text for text in problems)
    assert any(warning in text for text in warnings if str(mine.certificate) in text) == (days > 0)


def test_the_control_api_s_certificate_is_looked_at(run: Run, fresh: Path, tmp_path: Path) -> None:
    """One of its own that is missing or has ended is a problem, one that ends soon a warning."""
    authority = Authority(tmp_path)
    text = fresh.read_text()
    begin = text.index("[control]")
    end = text.index("# The other machines")

    def with_files(certificate: Path, key: Path) -> tuple[list[str], list[str]]:
        part = text[begin:end].replace("certs/gateway.pem", str(certificate))
        part = part.replace("gateway/gateway.key", str(key))
        fresh.write_text(text[:begin] + part + text[end:])
        return check(run, fresh)

    problems, _ = with_files(tmp_path / "none.pem", tmp_path / "none.key")
    (problem,) = problems
    assert problem.startswith(f"[control]: {tmp_path / 'none.pem'}: No such file or directory; ")
    problems, _ = with_files(*authority.issue("localhost", days=-1))
    assert "clients of the control API refuse it" in problems[0]
    problems, warnings = with_files(*authority.issue("localhost", days=3))
    assert problems == []
    assert any("ends in" in warning for warning in warnings)
    key = authority.issue("localhost", days=300)
    key.key.chmod(0o644)
    _, warnings = with_files(*key)
    assert any(f"{key.key}: a secret of the gateway" in warning for warning in warnings)
