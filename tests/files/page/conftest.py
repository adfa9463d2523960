"""A real browser, and a page opened in it: the group `browser` and Debian's chromium (`apt-get install chromium`)."""

import os
import shutil

import pytest


@pytest.fixture(scope="module")
def chromium():
    """Debian's browser; `LLM_JAX_CHROMIUM` names another one."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="uv sync --group browser")
    path = os.environ.get("LLM_JAX_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, pages):
    """A function that opens a page of the folder `pages`; nothing may have been asked for or complained of."""
    complaints: list[str] = []
    contexts = []

    def open_page(name, width=1280, scheme="light", **settings):
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **settings)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(f"console: {message.text}"))
        tab.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        tab.on("dialog", lambda dialog: complaints.append("a dialog"))
        address = f"file://{pages / name}"
        tab.on(
            "request",
            lambda asked: asked.url == address or asked.url.startswith("data:") or complaints.append(asked.url),
        )
        tab.goto(address)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def to():
    """A function that presses Tab until the element with an id has the focus."""

    def go(tab, identifier):
        for _ in range(60):
            tab.keyboard.press("Tab")
            if tab.evaluate("document.activeElement.id") == identifier:
                return
        raise AssertionError(f"{identifier} cannot be reached by keyboard")

    return go


@pytest.fixture
def check_looks(opened):
    """A function that asserts that a page fits its width, follows the theme, and passes axe's rules."""

    def check(name, width, scheme):
        from axe_playwright_python.sync_playwright import Axe

        tab = opened(name, width, scheme, bypass_csp=True)  # for axe's own script
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 30)"}[scheme]
        found = Axe().run(tab).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []

    return check
