"""A page holds what others have written as text, and asks nobody for anything."""

import json
import re

import pytest

from llm_jax.files.page import document

HOSTILE = "</script><img src=x onerror=alert(1)>&\u2028"


def test_a_hostile_name_stays_inside_the_data_and_comes_back_unchanged():
    page = document.render(HOSTILE, {"model": HOSTILE}, "")
    assert "<img" not in page
    data = re.search(r'<script type="application/json" id="record">(.*?)</script>', page, re.S)[1]
    assert json.loads(data) == {"model": HOSTILE}


def test_a_page_names_no_address_to_fetch_from():
    page = document.render("title", {}, "")
    without_namespace = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", without_namespace)
    assert "default-src 'none'" in page


def test_a_number_that_json_does_not_have_is_our_mistake():
    with pytest.raises(ValueError, match="JSON compliant"):
        document.embedded({"x": float("nan")})
