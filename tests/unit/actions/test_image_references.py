from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.actions import image_references

# The grammar of the distribution project's reference package, for what may be committed to.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"(?:(?:localhost|[a-z0-9.-]+)(?::[0-9]+)?/)?{_PART}(?:/{_PART})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("kept", "kept"), ("kept/web", "kept/web"), ("Kept/Web_1", "kept/web_1"), ("a__b", "a__b"),
        ("a--b", "a--b"), ("a..b", "a-b"), ("a___b", "a-b"), ("a_-b", "a-b"), ("-web-", "web"),
        ("web.", "web"), ("a//b/", "a/b"), ("../../etc", "etc"), ("kept/a b:c@d", "kept/a-b-c-d"),
        ("web\n", "web"), ("häuser", "h-user"),
        ("registry.example:5000/kept/web", "registry.example:5000/kept/web"),
        ("localhost/web", "localhost/web"), ("reg_x.example/web", "reg_x.example/web"),
        ("a:b/c", "a-b/c"),
    ],
)  # fmt: skip
def test_repository(text, name):
    assert image_references.repository(text) == name


@pytest.mark.parametrize(
    "text", ["", "///", "...", "日本", "registry.example/", "f" * 64, "a" * 256]
)
def test_no_repository(text):
    with pytest.raises(
        ValueError, match=r"nothing that could name|longer than|taken for an image's id"
    ):
        image_references.repository(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("web-20260101T000000", "web-20260101T000000"), ("Web_1.2", "Web_1.2"),
        (".hidden", "hidden"), ("-x", "x"), ("a b/c:d", "a-b-c-d"), ("_x", "_x"), ("x\r\n", "x"),
    ],
)  # fmt: skip
def test_tag(text, name):
    assert image_references.tag(text) == name


@pytest.mark.parametrize("text", ["", "...", "-", "é"])
def test_no_tag(text):
    with pytest.raises(ValueError, match="nothing that could be a tag"):
        image_references.tag(text)


def test_long_tags_stay_apart():
    one, two = image_references.tag("x" * 200 + "1"), image_references.tag("x" * 200 + "2")

    assert one != two
    assert len(one) == len(two) == image_references.LONGEST_TAG


@given(st.text(max_size=300))
def test_whatever_comes_is_a_reference_or_refused(text):
    try:
        repository, tag = image_references.repository(text), image_references.tag(text)
    except ValueError:
        return
    assert REPOSITORY.fullmatch(repository)
    assert len(repository) <= image_references.LONGEST_REPOSITORY
    assert TAG.fullmatch(tag)
