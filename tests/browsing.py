"""Pages of results in a real browser, for the tests with the marker `browser`.

The fixtures `chromium` and `opened` are in conftest.py; a test module that uses `opened` has a fixture `pages`, the
folder of its pages.
"""


def to(tab, identifier):
    """Presses Tab until the element with this id has the focus."""
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.id") == identifier:
            return
    raise AssertionError(f"{identifier} cannot be reached by keyboard")


def problems(tab):
    """What axe finds that keeps people from reading or using the page; needs `opened(…, bypass_csp=True)`."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(tab).response["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found]
