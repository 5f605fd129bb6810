"""The tokens in the state folder: made once, nobody else's to read, and nobody else's word."""

from __future__ import annotations

import os
import stat

import pytest

from dockmend.cli.doctor import _tokens
from dockmend.file_trust import Untrusted
from dockmend.settings import HttpSettings, Paths, Settings
from dockmend.settings.secrets import Secret, own_secret
from dockmend.web.tokens import Right, tokens_of


def test_the_first_start_makes_two_and_the_next_one_uses_them(tmp_path):
    settings = Settings(paths=Paths(state=tmp_path))
    umask = os.umask(0)
    try:
        made = tokens_of(settings)
    finally:
        os.umask(umask)
    assert [token.right for token in made.known] == [Right.READ, Right.FULL]
    assert made.problems == ()
    for token, name in zip(made.known, ("http.read.token", "http.token"), strict=True):
        path = tmp_path / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text() == token.secret.reveal() + "\n"
        assert len(token.secret.reveal()) >= 40
    assert made.known[0].secret != made.known[1].secret
    assert tokens_of(settings) == made
    assert sorted(each.name for each in tmp_path.iterdir()) == ["http.read.token", "http.token"]
    assert made.places(Right.READ) == f"{tmp_path}/http.read.token or {tmp_path}/http.token"
    assert made.places(Right.FULL) == f"{tmp_path}/http.token"


def test_what_the_settings_name_is_not_made(tmp_path):
    settings = Settings(paths=Paths(state=tmp_path))
    settings._secrets["http.token"] = Secret("mine", tmp_path / "elsewhere")
    tokens = tokens_of(settings)
    assert tokens.right_of("Bearer mine") is Right.FULL
    assert [each.name for each in tmp_path.iterdir()] == ["http.read.token"]


def test_a_start_that_died_midway_left_no_half_token(tmp_path):
    path = tmp_path / "http.token"
    (tmp_path / ".http.token.new").write_text("half")
    (tmp_path / ".http.token.new").chmod(0o666)
    assert own_secret(path).reveal() != "half"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_one_that_is_open_to_others_is_refused(tmp_path, mode):
    path = tmp_path / "http.token"
    path.write_text("known to others\n")
    path.chmod(mode)
    with pytest.raises(
        (ValueError, Untrusted), match=r"open to others|may be written by"
    ) as caught:
        own_secret(path)
    assert "known" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_one_of_another_user_or_in_their_folder_is_refused(tmp_path):
    path = tmp_path / "http.token"
    path.write_text("theirs\n")
    path.chmod(0o600)
    os.chown(path, 4711, 4711)
    with pytest.raises(Untrusted, match="belongs to user 4711"):
        own_secret(path)
    os.chown(path, 0, 0)
    os.chown(tmp_path, 4711, 4711)
    (problem, _) = tokens_of(Settings(paths=Paths(state=tmp_path))).problems
    assert "belongs to user 4711" in problem


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(Untrusted, match="not a regular file"):
        own_secret(tmp_path / "pipe")


def test_a_token_that_cannot_be_made_is_missing_and_said(tmp_path):
    settings = Settings(paths=Paths(state=tmp_path / "nowhere"))
    tokens = tokens_of(settings)
    assert tokens.known == ()
    assert tokens.right_of("Bearer ") is None
    assert len(tokens.problems) == 2
    assert "No such file" in tokens.problems[0]


def test_the_doctor_makes_none_and_says_what_is_wrong_with_those_that_are_there(tmp_path):
    settings = Settings(paths=Paths(state=tmp_path))
    assert [each.level for each in _tokens(settings)] == ["ok", "ok"]
    assert list(tmp_path.iterdir()) == []
    tokens_of(settings)
    (tmp_path / "http.token").chmod(0o644)
    good, bad = _tokens(settings)
    assert (good.level, bad.level) == ("ok", "problem")
    assert "open to others" in bad.text
    silent = settings.model_copy(update={"http": HttpSettings(listen=None)})
    assert _tokens(silent) == []
