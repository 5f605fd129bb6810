"""YAML with positions: where things stand, what is refused, and that nothing a file holds can grow
without bound."""

from __future__ import annotations

import pytest

from dockmend.rules.located_yaml import MAX_BYTES, MAX_DEPTH, Node, decode, parse
from dockmend.rules.yaml_hints import quoted


def found(text: str) -> list[tuple[int, int, str]]:
    return [
        (trouble.line, trouble.column, trouble.message)
        for trouble in parse("a.yaml", text).troubles
    ]


def node(text: str, *path: str | int) -> Node:
    at: Node | None = parse("a.yaml", text).root
    for part in path:
        assert at is not None
        at = at.child(part)
    assert at is not None
    return at


TEXT = """\
version: 1
rules:
  - name: "heal"   # é
    match: {name: [one, 'two']}
    description: |
      several
      lines
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [(("version",), (1, 10)), (("rules",), (3, 3)), (("rules", 0), (3, 5)),
        (("rules", 0, "name"), (3, 11)),
     (("rules", 0, "match", "name", 1), (4, 25)), (("rules", 0, "description"), (5, 18))],
)  # fmt: skip
def test_values_know_where_they_stand(path: tuple[str | int, ...], place: tuple[int, int]) -> None:
    at = node(TEXT, *path)
    assert (at.line, at.column) == place


def test_keys_know_where_they_stand() -> None:
    key = node(TEXT, "rules", 0).key("match")
    assert key is not None
    assert (key.line, key.column) == (4, 5)


def test_data_is_plain() -> None:
    assert parse("a.yaml", TEXT).data == {
        "version": 1,
        "rules": [
            {"name": "heal", "match": {"name": ["one", "two"]}, "description": "several\nlines\n"}
        ],
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [("a: 12", 12), ("a: -3", -3), ("a: 0x1f", 31), ("a: 0b11", 3), ("a: 1_000", 1000),
        ("a: 1.5", 1.5),
     ("a: true", True), ("a: off", False), ("a: ~", None), ("a:", None),
     ("a: 2024-01-01", "2024-01-01"), ("a: '1'", "1"), ("a: !!str 1", "1"), ("a: !!int '7'", 7),
     ("a: =", "="), ("a: 1e3", "1e3")],
)  # fmt: skip
def test_scalars(text: str, value: object) -> None:
    document = parse("a.yaml", text)
    assert document.data == {"a": value}
    assert type(document.data["a"]) is type(value)
    assert document.troubles == []


def test_the_place_inside_a_text() -> None:
    plain = parse("a.yaml", "if: container.nme == 1\n")
    assert plain.offset(plain.root.child("if"), 10) == (1, 15)  # type: ignore[union-attr, arg-type]
    quoted = parse("a.yaml", 'if: "container.nme == 1"\n')
    assert quoted.offset(quoted.root.child("if"), 10) == (1, 16)  # type: ignore[union-attr, arg-type]
    folded = parse("a.yaml", "if: >\n  container.nme\n  == 1\n")
    assert folded.offset(folded.root.child("if"), 10) == (1, 5)  # type: ignore[union-attr, arg-type]


def test_columns_count_characters_not_bytes() -> None:
    assert found("é: {é: *é-db}\n")[0][:2] == (1, 8)


def test_an_alias_is_the_same_value() -> None:
    assert parse("a.yaml", "a: &x [1, 2]\nb: *x\n").data == {"a": [1, 2], "b": [1, 2]}


def test_references_that_unfold_are_bounded() -> None:
    lines = ["a0: &a0 [" + ", ".join(["x"] * 100) + "]"]
    lines += [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 100) + "]" for i in range(1, 20)]
    ((line, _, message),) = found("\n".join(lines))
    assert line == 3
    assert message == "the file's references (*a1) unfold into more than 20000 values"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_depth_is_bounded_where_libyaml_would_end_the_process(opening: str) -> None:
    (trouble,) = found("a:\n " + opening * 200_000)
    assert trouble[2] == f"nested deeper than {MAX_DEPTH} levels, expected a flatter file"


def test_a_file_of_exactly_the_largest_size_is_read() -> None:
    head = b"version: 1\nrules: []\n#"
    assert decode("a.yaml", head + b"x" * (MAX_BYTES - len(head))).troubles == []
    (trouble,) = decode("a.yaml", head + b"x" * (MAX_BYTES - len(head) + 1)).troubles
    assert trouble.message == "the file has 1048577 bytes, expected at most 1048576 (1 MiB)"


def test_bytes_that_are_not_utf8() -> None:
    (trouble,) = decode("a.yaml", "é\nab".encode() + b"\xff").troubles
    assert (trouble.line, trouble.column, trouble.message[:16]) == (2, 3, "byte 0xff is not")


def test_a_byte_order_mark_and_windows_line_ends() -> None:
    document = decode("a.yaml", b"\xef\xbb\xbfversion: 1\r\nrules: []\r\n")
    assert document.data == {"version": 1, "rules": []}
    assert document.troubles == []


def test_problems_that_do_not_end_the_reading_are_all_reported() -> None:
    assert [line for line, _, _ in found("a: 1:30\nb: 1\nb: 2\non: 3\nc: !x 4\n")] == [1, 3, 4, 5]


@pytest.mark.parametrize("text", ["*-db", 'say "hi"', "it's", "both ' and \"", "back\\slash"])
def test_what_a_hint_says_to_write_is_what_was_meant(text: str) -> None:
    assert parse("a.yaml", f"a: {quoted(text)}\n").data == {"a": text}
