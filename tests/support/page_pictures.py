"""Makes the pictures of the live page for the documents, from the made-up branches of the tests.

`.venv/bin/python tests/support/page_pictures.py` writes docs/images. It needs Debian's `chromium`.
"""

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, expect

sys.path.insert(0, str(Path(__file__).parent))
import page_examples
from browsers import DESK, PHONE, Visitor, chromium, visitor
from fake_page_server import FakePageServer
from page_examples import LOOPING

IMAGES = Path(__file__).parents[2] / "docs" / "images"
COLOURS = 128
PLACE = f"#/branch/article/{LOOPING}?alert=alert_1"


def save(visit: Visitor, name: str) -> None:
    """Save what is on the screen, with as few colours as it needs: a third of the bytes."""
    picture = Image.open(io.BytesIO(visit.page.screenshot())).convert("RGB")
    few = picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(IMAGES / name, optimize=True)


def tree(browser: Browser, server: FakePageServer) -> None:
    """The tree on a wide screen, with the panel of the branch that runs in circles."""
    with visitor(browser, server.url, DESK, "light") as visit:
        visit.log_in(f"#/branch/article/{LOOPING}")
        expect(visit.page.get_by_role("heading", name="Last calls")).to_be_visible()
        visit.page.evaluate("document.activeElement.blur()")
        save(visit, "live-page-branch.png")


def question(browser: Browser, server: FakePageServer) -> None:
    """The question before a branch ends, on a phone at night."""
    with visitor(browser, server.url, PHONE, "dark") as visit:
        visit.log_in(PLACE)
        visit.page.get_by_role("button", name="End …", exact=True).click()
        expect(visit.page.get_by_role("button", name="End it")).to_be_enabled()
        save(visit, "live-page-phone.png")


def main() -> None:
    """Write both pictures."""
    IMAGES.mkdir(exist_ok=True)
    server = FakePageServer(page_examples.few_rows())
    with server.running(), chromium() as browser:
        tree(browser, server)
        question(browser, server)


if __name__ == "__main__":
    main()
