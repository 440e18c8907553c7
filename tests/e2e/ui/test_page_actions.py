"""What a person orders on the live page: the question, one order, and an honest receipt."""

from collections.abc import Callable, Iterator
from typing import Any

import page_examples
import pytest
from browsers import PHONE, Visitor, visitor
from fake_page_server import FakePageServer, problem, receipt
from page_examples import LOOPING
from playwright.sync_api import Browser, Locator, expect

PLACE = f"#/branch/article/{LOOPING}?alert=alert_1"
Arrive = Callable[[str], Visitor]


@pytest.fixture
def arrive(browser: Browser, server: FakePageServer) -> Iterator[Arrive]:
    with visitor(browser, server.url) as found:

        def opened(place: str = PLACE) -> Visitor:
            found.log_in(place)
            return found

        yield opened
        # The browser itself sends an order again if the connection ends before the answer.
        assert {*server.refusals} <= {"POST /api/action: once"}


def button(visit: Visitor, name: str) -> Locator:
    return visit.page.get_by_role("button", name=name, exact=True)


def dialog(visit: Visitor) -> Locator:
    return visit.page.get_by_role("dialog")


def ended(server: FakePageServer, order: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    server.change(3, state="revoked", left=0)
    return receipt(order)


@pytest.mark.parametrize("size", [(1280, 800), PHONE], ids=["desk", "phone"])
def test_from_an_alert_to_the_receipt_in_three_clicks(
    browser: Browser, server: FakePageServer, size: tuple[int, int]
) -> None:
    """The link of the alert, "End …", "End it": then the machines that have it are named."""
    server.action = lambda order: ended(server, order)
    with visitor(browser, server.url, size) as visit:
        visit.log_in()
        visit.go(PLACE)
        expect(visit.page.get_by_text("rule same-call would end branch")).to_be_visible()
        button(visit, "End …").click()
        question = dialog(visit)
        expect(question).to_contain_text("All machines refuse its calls at once")
        expect(question).to_contain_text("Nobody can undo it.")
        for fact in (LOOPING, "ada@example.com", "article", "9.42 of 10.00 credits", "none"):
            expect(question).to_contain_text(fact)
        button(visit, "End it").click()
        expect(question).to_contain_text("In force on 3 of 3 machines")
        expect(question).to_contain_text("1 open call cut within 2.1 ms")
        question.get_by_role("button", name="Close").click()
        expect(visit.page.get_by_role("article", name="researcher")).to_contain_text("revoked")
        expect(button(visit, "End …")).to_have_count(0)
    (order,) = server.actions
    assert order == {"action": "end", "crew": "article", "branch": LOOPING, "reason": "",
                     "until": "all"}  # fmt: skip


def test_the_question_counts_what_ends_too(arrive: Arrive) -> None:
    visit = arrive(f"#/branch/article/{page_examples.RUN}")
    button(visit, "End …").click()
    expect(dialog(visit)).to_contain_text("3 live branches below it end too.")


def test_a_double_click_orders_once(arrive: Arrive, server: FakePageServer) -> None:
    """Neither does the second click on "End …" confirm, nor one on "End it" order again."""
    server.may_answer_actions.clear()
    visit = arrive(PLACE)
    button(visit, "End …").dblclick()
    expect(dialog(visit)).to_contain_text("Nobody can undo it.")
    button(visit, "End it").dblclick()
    expect(dialog(visit)).to_contain_text("Waiting for the machines")
    visit.page.keyboard.press("Escape")
    expect(dialog(visit)).to_be_visible()
    server.may_answer_actions.set()
    expect(dialog(visit)).to_contain_text("In force on 3 of 3 machines")
    assert len(server.actions) == 1


def test_a_reason_goes_into_the_order(arrive: Arrive, server: FakePageServer) -> None:
    visit = arrive(PLACE)
    button(visit, "End …").click()
    visit.page.get_by_label("Reason").fill("asks for the same page again and again")
    button(visit, "End it").click()
    expect(dialog(visit)).to_contain_text("In force on 3 of 3 machines")
    assert server.actions[0]["reason"] == "asks for the same page again and again"


def test_cancel_orders_nothing_and_gives_the_focus_back(
    arrive: Arrive, server: FakePageServer
) -> None:
    visit = arrive(PLACE)
    button(visit, "End …").click()
    visit.page.keyboard.press("Escape")
    expect(dialog(visit)).to_have_count(0)
    expect(button(visit, "End …")).to_be_focused()
    assert not server.actions


def test_the_receipt_warns_of_machines_that_are_missing(
    arrive: Arrive, server: FakePageServer
) -> None:
    reach = {"applied_on": 2, "of": 3, "missing": ["gw-3"], "enough": False}
    server.action = lambda _: (200, {"lines": ["revoked it"], "receipt": reach})
    visit = arrive(PLACE)
    button(visit, "End …").click()
    button(visit, "End it").click()
    expect(dialog(visit)).to_contain_text("In force on 2 of 3 machines")
    expect(dialog(visit)).to_contain_text("No answer yet from gw-3.")


def test_a_failure_says_what_to_do(arrive: Arrive, server: FakePageServer) -> None:
    server.action = lambda _: problem(503, "unavailable", "the agent does not answer")
    visit = arrive(PLACE)
    button(visit, "End …").click()
    button(visit, "End it").click()
    expect(dialog(visit)).to_contain_text("It failed")
    expect(dialog(visit)).to_contain_text("the agent does not answer")
    expect(dialog(visit)).to_contain_text(f"crewgate revoke {LOOPING} --crew article")
    server.action = receipt
    button(visit, "Try again").click()
    expect(dialog(visit)).to_contain_text("In force on 3 of 3 machines")


def test_a_refusal_says_who_can(arrive: Arrive, server: FakePageServer) -> None:
    server.action = lambda _: problem(403, "not-permitted", "you lack the right operate")
    visit = arrive(PLACE)
    button(visit, "End …").click()
    button(visit, "End it").click()
    expect(dialog(visit)).to_contain_text("you lack the right operate")
    expect(dialog(visit)).to_contain_text("“Access” says who")


def test_a_lost_answer_is_neither_success_nor_failure(
    arrive: Arrive, server: FakePageServer
) -> None:
    """The page says that it does not know, and finds out when the person asks it to look."""
    server.cuts_actions = True
    visit = arrive(PLACE)
    button(visit, "End …").click()
    button(visit, "End it").click()
    expect(dialog(visit)).to_contain_text("It is not known whether this was done")
    button(visit, "Look again").click()
    expect(dialog(visit)).to_contain_text("No revocation of it is recorded in the last ten minutes")
    event = {"time": page_examples.moment(1), "target": "branch", "id": LOOPING, "by": "ada",
             "machine": "gw-1", "reason": "", "cuts": 1}  # fmt: skip
    server.details = lambda row: page_examples.details(row) | {"revocations": [event]}
    server.change(3, state="revoked", left=0)
    expect(visit.page.locator(".panel .state").first).to_contain_text("revoked")
    button(visit, "Look again").click()
    expect(dialog(visit)).to_contain_text("The branch is revoked now.")
    expect(dialog(visit)).to_contain_text("it was done")
    server.cuts_actions = False
    button(visit, "Order again").click()
    expect(dialog(visit)).to_contain_text("In force on 3 of 3 machines")
    assert len(server.actions) == 1


def test_a_quarantine_has_a_length_and_can_be_lifted(
    arrive: Arrive, server: FakePageServer
) -> None:
    visit = arrive(PLACE)
    button(visit, "Quarantine …").click()
    expect(dialog(visit)).to_contain_text("Its live branches continue.")
    visit.page.get_by_label("How long").select_option("3600")
    button(visit, "Quarantine it").click()
    expect(dialog(visit)).to_contain_text("Quarantined: the receipt")
    dialog(visit).get_by_role("button", name="Close").click()
    server.change(3, level="quarantine")
    expect(button(visit, "Quarantine …")).to_have_count(0)
    button(visit, "Lift …").click()
    button(visit, "Lift it").click()
    expect(dialog(visit)).to_contain_text("Lifted: the receipt")
    assert [(each["action"], each["orchestrator"]) for each in server.actions] == [
        ("quarantine", "article/article-1"), ("lift", "article/article-1"),
    ]  # fmt: skip
    assert server.actions[0]["seconds"] == 3600


def test_burned_credits_can_be_given_back(arrive: Arrive, server: FakePageServer) -> None:
    visit = arrive(f"#/branch/article/{page_examples.uuid_of(8)}")
    button(visit, "Give back burned credits …").click()
    expect(dialog(visit)).to_contain_text("Give back 0.40 burned credits?")
    button(visit, "Give them back").click()
    expect(dialog(visit)).to_contain_text("Given back: the receipt")
    assert server.actions[0]["action"] == "forgive"


def test_all_runs_of_a_person_can_be_ended(arrive: Arrive, server: FakePageServer) -> None:
    visit = arrive("#/people")
    row = visit.page.get_by_role("row", name="grace@example.com")
    row.get_by_role("button", name="End all runs …").click()
    expect(dialog(visit)).to_contain_text("in all crews")
    button(visit, "End all runs").click()
    expect(dialog(visit)).to_contain_text("Ended: the receipt")
    assert server.actions[0]["subject"] == "grace@example.com"
    assert server.actions[0]["crew"] == ""


@pytest.mark.parametrize(
    ("rights", "offered"),
    [
        ({"view": ["*"]}, []),
        ({"view": ["*"], "operate": ["billing"]}, []),
        ({"view": ["*"], "operate": ["article"]}, ["End …", "Quarantine …"]),
        ({"view": ["*"], "budget": ["article"]}, ["Give back burned credits …"]),
    ],
    ids=["view", "other-crew", "operate", "budget"],
)
def test_without_a_right_there_is_no_button(
    arrive: Arrive, server: FakePageServer, rights: dict[str, list[str]], offered: list[str]
) -> None:
    server.session = page_examples.session(**rights)
    visit = arrive(f"#/branch/article/{page_examples.uuid_of(7)}")
    expect(visit.page.get_by_role("article", name="editor")).to_contain_text("Last calls")
    expect(visit.page.locator(".actions > button")).to_have_text(offered)


def test_keys_order_from_the_tree(arrive: Arrive, server: FakePageServer) -> None:
    visit = arrive("")
    visit.row(LOOPING[:8]).focus()
    visit.page.keyboard.press("e")
    expect(dialog(visit)).to_contain_text("End researcher 63da7825?")
    visit.page.keyboard.press("Escape")
    expect(visit.row(LOOPING[:8])).to_be_focused()
    visit.page.keyboard.press("u")
    expect(dialog(visit)).to_contain_text("Quarantine article/article-1?")
