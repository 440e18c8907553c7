"""A past incident in a browser: on the live page of a real gateway, and in the exported file."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from audit_records import NOON, ROOT, permit
from blocking_clients import OK, REVOKED, Caller
from browsers import Visitor, visitor
from installation import Installation
from live_page_process import foreground
from playwright.sync_api import Browser, expect
from random_runs import Site
from signed_audit import Machine

from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.audit.replay.export_document import ExportDocument, document
from crewgate.audit.replay.export_html import html
from crewgate.audit.replay.run_replay import merged
from crewgate.audit.replay.timeline import timeline
from crewgate.audit.replay.verification import read, verify_export
from crewgate.config.load import load
from crewgate.core.audit.records import RevocationRecord
from crewgate.issuer import Orchestrator, SubAgent

HOSTILE = (
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\u202egnp.exe",
    "'\"><svg onload=alert(1)>",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    site = Installation(tmp_path_factory.mktemp("replay"), price="0.01", workers=1)
    try:
        site.serve()
        yield site
    finally:
        site.end()


@pytest.fixture(scope="module")
def run(site: Installation) -> SubAgent:
    """It called twice, and so did the branch below it, until a person ended it."""
    with Orchestrator.from_config(site.file, crew="article") as article:
        run = article.start_run(credits="10", tools=["search.*"])
        below = run.spawn(credits="5", tools=["search.*"], role="researcher")
        with closing(Caller(site)) as caller:
            for agent in (run, below, run, below):
                assert caller.call(agent.token()) == OK
            site.run("revoke", run.branch, "--crew", "article", "--reason", "it runs in circles")
            assert caller.call(below.token()) == REVOKED
    return run


@pytest.fixture(scope="module")
def visit(site: Installation, browser: Browser) -> Iterator[Visitor]:
    """At the page of `crewgate ui`, whose link was opened."""
    with (
        foreground(site, "--port", "0") as (url, code),
        visitor(browser, url, accept_downloads=True) as visit,
    ):
        visit.go(f"#/code/{code}")
        visit.page.get_by_text("live ·").first.wait_for()
        yield visit


def caption(visit: Visitor) -> str:
    return visit.page.locator(".replay-caption").inner_text()


def branch(visit: Visitor, role: str) -> list[str]:
    """The cells of a branch, as the tree shows it now."""
    rows = visit.page.locator(".replay-branches tbody tr").filter(has_text=role)
    return rows.first.locator("td").all_inner_texts() if rows.count() else []


def test_a_person_picks_a_run_and_steps_through_it(visit: Visitor, run: SubAgent) -> None:
    visit.go("#/replay")
    visit.page.get_by_role("link", name=run.branch[:8]).click()
    expect(visit.page.locator(".replay-caption")).to_contain_text("Step 1 of 8")
    assert "grant of 10.00 credits for search.*" in caption(visit)
    assert branch(visit, "researcher") == []
    visit.page.keyboard.press("ArrowRight")
    assert "search.web: done 200, 0.01 credits" in caption(visit)
    visit.page.get_by_role("button", name="Forward").click()
    visit.page.get_by_role("button", name="Forward").click()
    assert branch(visit, "researcher")[1:] == ["live", "1", "0", "0", "0.01", "5.00"]
    visit.page.locator("h1").click()
    visit.page.keyboard.press("n")
    assert "revoked by owner: it runs in circles" in caption(visit)
    assert branch(visit, "researcher")[1] == "revoked"
    assert visit.page.locator(".replay-record").get_by_text("it runs in circles").count() == 1
    visit.page.keyboard.press("End")
    assert "Step 8 of 8" in caption(visit)
    assert branch(visit, "researcher")[1:4] == ["revoked", "2", "1"]
    visit.page.keyboard.press("Home")
    assert "Step 1 of 8" in caption(visit)
    visit.page.get_by_role("button", name="Play").click()
    expect(visit.page.locator(".replay-caption")).to_contain_text("Step 8 of 8")
    expect(visit.page.get_by_role("button", name="Play")).to_be_visible()


def test_the_address_leads_to_the_moment(visit: Visitor, run: SubAgent) -> None:
    visit.go(f"#/replay/article/{run.branch}")
    expect(visit.page.locator(".replay-caption")).to_contain_text("Step 1 of 8")
    expect(visit.page).to_have_url(re.compile("[?]at="))
    first = visit.page.url
    visit.page.keyboard.press("n")
    expect(visit.page).not_to_have_url(first)
    shown, address = caption(visit), visit.page.url
    visit.go("#/")
    visit.page.goto(address)
    expect(visit.page.locator(".replay-caption")).to_have_text(shown)


def test_what_is_exported_there_verifies_and_can_be_read_offline(
    visit: Visitor, site: Installation, run: SubAgent, browser: Browser, tmp_path: Path
) -> None:
    visit.go(f"#/replay/article/{run.branch}")
    expect(visit.page.locator(".replay-caption")).to_contain_text("Step 1 of 8")
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="Export").click()
    path = tmp_path / download.value.suggested_filename
    assert path.name == f"replay-{run.branch}.html"
    download.value.save_as(path)
    key = CheckpointKey.load(load(site.file).state).public
    assert verify_export(path.read_bytes(), [key]).findings == []
    with opened(browser, path) as page:
        expect(page.page.locator("#replay-verdict")).to_contain_text("have signed these lines")
        page.page.keyboard.press("End")
        assert "branch-revoked" in caption(page)
        assert page.page.locator("body > table tbody tr").count() == 8


@contextmanager
def opened(browser: Browser, path: Path) -> Iterator[Visitor]:
    """The file in a browser without a network; it asks for nothing else, and opens no dialog."""
    with visitor(browser, path.as_uri(), offline=True) as visit:
        asked: list[str] = []
        visit.page.on("request", lambda request: asked.append(request.url))
        visit.page.on("dialog", lambda dialog: asked.append(dialog.message))
        visit.page.goto(path.as_uri())
        yield visit
        assert asked == [path.as_uri()]


def hostile_file(path: Path) -> None:
    machine = Machine(path.parent / "gw-1" / "audit")
    agent = machine.writer("agent")
    for second, text in enumerate(HOSTILE, 1):
        machine.writers[0].write(permit(second, ROOT, text, text, 5))
        agent.write(
            RevocationRecord(
                crew="article", orchestrator="", process="", role="", branch=ROOT,
                time=NOON + timedelta(seconds=second), target="branch", id=ROOT, by=text,
                reason=text,
            )
        )  # fmt: skip
    machine.take()
    path.write_bytes(html(document(Site({"gw-1": machine}, ROOT).replay())))


def test_hostile_texts_run_nothing(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    hostile_file(path)
    with opened(browser, path) as visit:
        expect(visit.page.locator("#replay-verdict")).to_contain_text("have signed these lines")
        for _ in range(2 * len(HOSTILE)):
            visit.page.keyboard.press("ArrowRight")
        assert visit.page.locator("img, svg, iframe").count() == 0
        assert visit.page.locator("script").count() == 2
        assert "\u202e" not in visit.page.locator("body").inner_text()


def test_the_browser_says_that_a_file_was_changed(browser: Browser, tmp_path: Path) -> None:
    """Also if all that the file shows was made anew from the changed lines."""
    path = tmp_path / "run.html"
    hostile_file(path)
    for at, (part, old, new) in enumerate(
        [
            ("lines", '"cost_micro":5', '"cost_micro":6'), ("lines", "worker-0", "worker-1"),
            ("statement", "article", "billing"), ("checkpoints", '"number":1', '"number":2'),
            ("machine", "gw-1", "gw-2"), ("lines", None, None), ("checkpoints", None, None),
        ]
    ):  # fmt: skip
        found = msgspec.to_builtins(read(path.read_bytes()))
        machine = found["machines"][0]
        if old is None:
            machine[part].pop()
        else:
            text = msgspec.json.encode(machine[part]).decode()
            quoted = [each.replace('"', '\\"') for each in (old, new)]
            pair = quoted if part in {"lines", "checkpoints"} and '"' in old else (old, new)
            assert pair[0] in text
            machine[part] = msgspec.json.decode(text.replace(*pair, 1))
        changed = msgspec.convert(found, ExportDocument)
        steps = timeline(merged(changed.machines), changed.run)
        forged = tmp_path / f"forged-{at}.html"
        forged.write_bytes(html(msgspec.structs.replace(changed, timeline=steps)))
        with opened(browser, forged) as visit:
            expect(visit.page.locator("#replay-verdict")).to_contain_text("NOT as")


def test_a_policy_stops_a_script_that_somebody_added(browser: Browser, tmp_path: Path) -> None:
    """The file has the digest of its own script, and its policy allows no other."""
    path = tmp_path / "run.html"
    hostile_file(path)
    added = path.read_text().replace("</body>", "<script>document.title='run'</script></body>")
    path.write_text(added)
    with closing(browser.new_page()) as page:
        page.goto(path.as_uri())
        expect(page.locator("#replay-verdict")).to_contain_text("have signed these lines")
        assert page.title() == f"Replay of run {ROOT}"
