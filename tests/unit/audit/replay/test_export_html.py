"""An exported file: whatever records say, only the script of Crewgate is in it, and no address."""

from base64 import b64encode
from datetime import timedelta
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

from audit_records import NOON, ROOT, grant, permit
from random_runs import Site
from signed_audit import KEY, Machine

from crewgate.audit.replay.export_document import document
from crewgate.audit.replay.export_html import html
from crewgate.audit.replay.question import ReplayFilter
from crewgate.audit.replay.verification import verify_export
from crewgate.core.audit.records import RevocationRecord

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=https://evil.example/x onerror=alert(1)>',
    "<!--<script>",
    "\u202etxt.exe\u2028\x1b[31m",
    "&lt;script&gt;&#x3c;",
)


class Elements(HTMLParser):
    """The elements of a page, with their attributes and texts."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.starts: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.comments = 0
        self._open = ""
        self.feed(data.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.starts.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_comment(self, data: str) -> None:
        self.comments += 1

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open, data))

    def digest(self, tag: str) -> str:
        """The digest of the last element of this kind, as a policy names it."""
        text = [each for of, each in self.texts if of == tag][-1]
        return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def exported(folder: Path, texts: tuple[str, ...]) -> bytes:
    machine = Machine(folder / "gw-1" / "audit")
    agent = machine.writer("agent")
    machine.writers[0].write(grant(ROOT, "writer", 0))
    for second, text in enumerate(texts, 1):
        machine.writers[0].write(permit(second, ROOT, text, text, 5))
        agent.write(
            RevocationRecord(
                crew="article", orchestrator="", process="", role="", branch=ROOT,
                time=NOON + timedelta(seconds=second), target="branch", id=ROOT, by=text,
                reason=text,
            )
        )  # fmt: skip
    machine.take()
    return html(document(Site({"gw-1": machine}, ROOT).replay()))


def test_hostile_texts_are_only_texts(tmp_path: Path) -> None:
    data = exported(tmp_path, HOSTILE)
    page, plain = Elements(data), Elements(exported(tmp_path / "plain", ("a",) * len(HOSTILE)))
    assert page.starts == plain.starts
    assert page.comments == 0
    shown = "".join(text for tag, text in page.texts if tag == "td")
    assert "</script><script>alert(1)</script>" in shown
    assert "\\u202etxt.exe\\u2028\\x1b[31m" in shown
    assert not {"\u202e", "\u2028", "\x1b"} & {*data.decode()}
    assert verify_export(data, [KEY.public]).is_proven


def test_its_policy_allows_its_script_and_style_and_nothing_else(tmp_path: Path) -> None:
    page = Elements(exported(tmp_path, HOSTILE))
    [policy] = [each["content"] for tag, each in page.starts if tag == "meta" and "content" in each
                and each.get("http-equiv") == "Content-Security-Policy"]  # fmt: skip
    assert policy is not None
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))

    assert parts == {
        "default-src": "'none'", "script-src": page.digest("script"),
        "style-src": page.digest("style"), "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip
    kinds = [each for tag, each in page.starts if tag == "script"]
    assert kinds == [{"type": "application/json", "id": "replay-data"}, {"type": "module"}]
    for _, attributes in page.starts:
        assert not {"src", "href", "style", "action", "srcdoc"} & {*attributes}
        assert not any(name.startswith("on") for name in attributes)


def test_without_a_script_each_step_can_be_read(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "gw-1" / "audit")
    machine.writers[0].write(grant(ROOT, "writer", 0))
    machine.writers[0].write(permit(1, ROOT, "writer", "search.web", 10_000))
    machine.take()
    page = Elements(html(document(Site({"gw-1": machine}, ROOT).replay())))
    cells = [text for tag, text in page.texts if tag == "td"]
    assert cells[:7] == [
        "1", "2026-11-24 12:00:01.000", "gw-1", ROOT, "writer",
        "grant of 2.50 credits for search.*, until 12:15:00", "checkpoint 1",
    ]  # fmt: skip
    assert "search.web: done, 0.01 credits, 2 ms" in cells
    assert KEY.public in [text for tag, text in page.texts if tag == "dd"]


def test_a_run_without_lines_has_an_export_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "gw-1" / "audit")
    found = document(Site({"gw-1": machine}, ROOT).replay(ReplayFilter(ROOT, is_signed=True)))
    assert verify_export(html(found), [KEY.public]).is_proven
