"""The tree of the live page in a browser: rows, filters, order, keys, and what moves when."""

import re
from collections.abc import Iterator

import page_examples
import pytest
from browsers import PHONE, Visitor, visitor
from fake_page_server import FakePageServer
from page_examples import LOOPING, RUN
from playwright.sync_api import Browser, expect


@pytest.fixture
def visit(browser: Browser, server: FakePageServer) -> Iterator[Visitor]:
    with visitor(browser, server.url) as found:
        found.log_in()
        expect(found.row("researcher").first).to_be_visible()
        yield found
        assert not server.refusals


def test_it_shows_each_live_branch_below_its_parent(visit: Visitor) -> None:
    """Crews, runs and branches stand in a tree, and those that have ended are left out at first."""
    assert visit.names() == [
        "article", "editor", "researcher", "editor", "drafter", "fact-checker", "researcher",
        "billing", "reconciler", "reader",
    ]  # fmt: skip
    row = visit.row(LOOPING[:8])
    expect(row).to_have_attribute("aria-level", "3")
    expect(row).to_contain_text("rule would end")
    expect(row).to_contain_text("ada@example.com")
    expect(row).to_contain_text("9.42 / 10.00")
    bar = row.get_by_role("img", name="9.42 of 10.00 credits spent, 0.12 reserved, 0.46 left")
    expect(bar).to_be_visible()
    expect(visit.tree).to_have_attribute("aria-rowcount", "11")
    expect(visit.page.get_by_text("8 live of 10 branches, 8 shown")).to_be_visible()


# A branch whose parent no machine knows, again and again; at last the first parent comes.
_WITHOUT_PARENTS = """async () => {
  const { TreeStore } = await import("/static/tree_store.js");
  const store = new TreeStore();
  const more = (reset, rows, gone) => store.take(
    { reset, rows, gone, more: false, at: 1, machines: ["gw-1"], not_asked: [], left_out: 0 });
  more(true, [{ n: 1, crew: "article", branch: "" }], []);
  for (let n = 2; n < 20; n += 1) {
    more(false, [{ n, crew: "article", branch: `child ${n}`, parent: `parent ${n}` }], []);
    more(false, [], [n]);
  }
  more(false, [{ n: 20, crew: "article", branch: "child", parent: "parent 2" }], []);
  more(false, [{ n: 21, crew: "article", branch: "parent 2" }], []);
  const found = store.tree.byKey.get("article\\nparent 2");
  return [[...found.below].map((each) => each.row.branch), store.tree.waiting.size];
}"""


def test_a_branch_that_is_gone_waits_for_no_parent(visit: Visitor) -> None:
    """Else it would come back with the parent, and a screen on a wall would fill its memory."""
    assert visit.page.evaluate(_WITHOUT_PARENTS) == [["child"], 0]


def test_a_branch_that_has_overdrawn_says_so(visit: Visitor) -> None:
    visit.page.get_by_label("Only live").uncheck()
    row = visit.row("illustrator")
    name = "3.02 of 3.00 credits spent, 0.00 left, revoked, overdrawn by 0.02"
    expect(row.get_by_role("img", name=name)).to_have_class("bar is-over")
    expect(row).to_contain_text("revoked")
    expect(row.locator(".left")).to_have_text("ended")
    row.click()
    expect(visit.page.locator(".amounts .left")).to_have_text("Left0.00, revoked")


def test_a_branch_that_has_ended_says_nothing_of_rules(
    visit: Visitor, server: FakePageServer
) -> None:
    """A person has nothing more to do there; the panel still has what rules found."""
    server.change(3, state="revoked")
    row = visit.row(LOOPING[:8])
    expect(row).to_contain_text("revoked")
    expect(row).not_to_contain_text("rule")


def test_amounts_change_in_place(visit: Visitor, server: FakePageServer) -> None:
    row = visit.row(LOOPING[:8])
    before = row.element_handle()
    server.change(3, spent=9_810_000, left=70_000)
    expect(row).to_contain_text("9.81 / 10.00")
    assert before is not None
    assert visit.page.evaluate("([one, other]) => one === other", [before, row.element_handle()])


def test_a_branch_that_ends_stays_for_a_while(visit: Visitor, server: FakePageServer) -> None:
    """A person who looks at a branch sees that it has ended; the row does not vanish."""
    server.change(3, state="revoked", left=0)
    expect(visit.row(LOOPING[:8])).to_contain_text("revoked")


def test_the_filter_says_how_long_an_ended_branch_stays(visit: Visitor) -> None:
    """`only live` would be wrong otherwise."""
    label = visit.page.locator("label", has_text="Only live")
    expect(label).to_have_attribute("title", re.compile("stays in the list for five minutes"))


def test_rows_come_and_go(visit: Visitor, server: FakePageServer) -> None:
    server.add(page_examples.branch(50, "billing", "auditor", 3, 0.1))
    expect(visit.row("auditor")).to_be_visible()
    server.drop(50)
    expect(visit.row("auditor")).to_have_count(0)


def test_a_branch_whose_parent_comes_later_is_placed_below_it(
    visit: Visitor, server: FakePageServer
) -> None:
    parent = page_examples.branch(60, "billing", "clerk", 3, 0.1)
    child = page_examples.branch(61, "billing", "counter", 1, 0, parent=parent["branch"])
    server.add(child)
    expect(visit.row("counter")).to_have_attribute("aria-level", "2")
    server.add(parent)
    expect(visit.row("counter")).to_have_attribute("aria-level", "3")


def test_while_a_person_points_at_the_list_no_row_moves(
    visit: Visitor, server: FakePageServer
) -> None:
    """New rows wait until the person leaves or asks for them; amounts do not wait."""
    visit.page.get_by_role("columnheader", name="Credits/min").get_by_role("button").click()
    visit.row(LOOPING[:8]).hover()
    before = visit.names()
    server.add(page_examples.branch(50, "article", "auditor", 3, 0.1, spent_rate=90_000_000))
    server.change(12, spent_rate=80_000_000)
    expect(visit.row("reader")).to_contain_text("80.00")
    expect(visit.page.get_by_role("button", name="The list waits while you look")).to_be_visible()
    assert visit.names() == before
    visit.page.mouse.move(600, 20)
    expect(visit.row("auditor")).to_be_visible()
    assert visit.names()[:3] == ["article", "auditor", "editor"]
    assert visit.names()[-1] == "reader"


def test_it_sorts_siblings_by_what_they_spend(visit: Visitor) -> None:
    head = visit.page.get_by_role("columnheader", name="Credits/min")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    assert visit.names()[:4] == ["article", "editor", "researcher", "drafter"]
    visit.page.get_by_role("columnheader", name="Spent / quota").get_by_role("button").click()
    assert visit.names()[:3] == ["article", "editor", "researcher"]
    expect(visit.tree.locator(".row").nth(1)).to_contain_text("17.38 / 20.00")


def test_filters_keep_the_path_to_what_they_find(visit: Visitor) -> None:
    visit.page.get_by_label("Filter by text").fill("fact-checker")
    expect(visit.tree.locator(".row")).to_have_count(4)
    assert visit.names() == ["article", "editor", "drafter", "fact-checker"]
    visit.page.get_by_role("button", name="Clear filters").click()
    visit.page.get_by_label("State").select_option("expired")
    assert visit.names() == ["article", "editor", "translator"]
    visit.page.get_by_role("button", name="Clear filters").click()
    visit.page.get_by_label("Person", exact=True).fill("grace")
    visit.page.get_by_label("Role").select_option("researcher")
    assert visit.names() == ["article", "editor", "researcher"]
    visit.page.get_by_label("Crew", exact=True).select_option("billing")
    expect(visit.page.get_by_text("No branch matches the filters.")).to_be_visible()


def test_it_shows_what_needs_attention(visit: Visitor) -> None:
    visit.page.get_by_role("button", name="4 need attention").click()
    assert visit.names() == [
        "article", "editor", "researcher", "editor", "researcher", "billing", "reconciler",
    ]  # fmt: skip
    expect(visit.page.get_by_role("checkbox", name="Needs attention")).to_be_checked()


def test_choices_outlive_a_reload(visit: Visitor) -> None:
    visit.page.get_by_label("Filter by text").fill("fact-checker")
    expect(visit.tree.locator(".row")).to_have_count(4)
    visit.page.reload()
    expect(visit.tree.locator(".row")).to_have_count(4)


def test_keys_move_fold_and_open(visit: Visitor) -> None:
    """The keys are those of a treegrid; one row is in the order of Tab."""
    page = visit.page
    assert page.locator(".row[tabindex='0']").count() == 1
    page.locator(".row[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    focused = page.locator(".row:focus")
    expect(focused).to_contain_text("17.38 / 20.00")
    page.keyboard.press("ArrowLeft")
    expect(focused).to_have_attribute("aria-expanded", "false")
    expect(focused).to_contain_text("+1")
    page.keyboard.press("ArrowLeft")
    expect(focused).to_contain_text("article")
    page.keyboard.press("End")
    expect(focused).to_contain_text("reader")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(focused).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowRight")
    expect(focused).to_contain_text("11.60 / 12.00")
    page.keyboard.press("Enter")
    expect(page.locator("h2:focus")).to_have_text("researcher")
    page.keyboard.press("Escape")
    expect(focused).to_contain_text("11.60 / 12.00")
    page.keyboard.press("/")
    expect(page.get_by_label("Filter by text")).to_be_focused()


def test_collapse_shows_the_runs_alone(visit: Visitor) -> None:
    visit.page.get_by_role("button", name="Collapse all").click()
    assert visit.names() == ["article", "editor", "editor", "billing", "reconciler"]
    visit.page.get_by_role("button", name="Expand all").click()
    assert len(visit.names()) == 10


def test_the_panel_shows_a_branch_and_each_level_above(visit: Visitor) -> None:
    visit.row(LOOPING[:8]).click()
    panel = visit.page.get_by_role("article", name="researcher")
    expect(panel).to_contain_text(LOOPING)
    expect(panel).to_contain_text("Needs attention: rule same-call would end")
    expect(panel).to_contain_text("1.26 credits/min now; at this rate the credits end in 22 s.")
    expect(panel.get_by_role("link", name=f"editor {RUN[:8]}")).to_be_visible()
    expect(panel).to_contain_text("the same call 14 times")
    expect(panel).to_contain_text("rule same-call would end: 20, the limit is 20")
    expect(panel.get_by_role("img", name="credits in 30 minutes, at most")).to_be_visible()
    panel.get_by_role("link", name=f"editor {RUN[:8]}").click()
    expect(visit.page.get_by_role("article", name="editor")).to_contain_text(RUN)
    visit.page.get_by_role("button", name="Close").click()
    expect(visit.page.get_by_role("article", name="editor")).to_have_count(0)
    assert visit.page.url == f"{visit.url}/#/"


def test_a_branch_that_no_machine_knows_can_be_ended(visit: Visitor) -> None:
    """Its alert may be older than what the machines remember."""
    visit.go("#/branch/article/00000000-0000-4000-8000-000000000000")
    expect(visit.page.get_by_text("No machine that answered knows this branch now")).to_be_visible()
    visit.page.get_by_role("button", name="End …", exact=True).click()
    visit.page.get_by_role("button", name="End it").click()
    expect(visit.page.get_by_role("dialog")).to_contain_text("In force on 3 of 3 machines")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_shows_the_step_beside_a_whole_name(browser: Browser, theme: str) -> None:
    """The word "live" is only for a screen reader then: a branch with a step lives."""
    rows = page_examples.few_rows()
    below = page_examples.branch(
        13, "article", "fact-checker", 2, 0.5, parent=page_examples.uuid_of(5), rule="r",
        rule_step="refuse", rule_mode="observe", spent_rate=40_000,
    )  # fmt: skip
    server = FakePageServer([*rows, below])
    with server.running(), visitor(browser, server.url, PHONE, theme) as visit:
        visit.log_in()
        row = visit.row(page_examples.uuid_of(13)[:8])
        step = row.locator(".step")
        expect(step).to_have_text("rule would refuse")
        for part in (step, row.locator(".role"), row.locator(".id"), row.locator(".rate")):
            assert part.evaluate("each => each.scrollWidth <= each.clientWidth + 1")
            box = part.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= PHONE[0]
        live = row.locator(".state").bounding_box()
        assert live is not None
        assert live["width"] <= 1
        other = visit.row(page_examples.uuid_of(5)[:8]).locator(".state").bounding_box()
        assert other is not None
        assert other["width"] > 20
    assert not server.refusals
