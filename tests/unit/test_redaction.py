"""What is taken out of what is written down, and what stays readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend import redaction
from dockmend.redaction import MARK

S = "hunter2"


@pytest.mark.parametrize(
    "command",
    [
        ["mysql", "-u", "root", f"-p{S}", "shop"], ["mysqldump", f"--password={S}", "shop"],
        ["tool", "-p", S], ["tool", "--password", S], ["tool", "--token", S, "-v"],
        ["gpg", "--passphrase", S], ["tool", "--api-key", S], ["env", f"PGPASSWORD={S}", "psql"],
        ["redis-cli", "-a", S, "ping"], ["curl", "-u", f"me:{S}", "http://h"],
        ["psql", f"postgres://me:{S}@db/shop"], ["curl", f"http://h/x?a=1&token={S}&b=2"],
        ["zip", "-P", S, "a.zip"], ["sh", "-c", f"PGPASSWORD={S} psql -h db -c 'select 1'"],
        ["sh", "-c", f"mysql -p{S} shop < x; exit 0"], ["sh", "-c", f"exec tool --password '{S}'"],
        ["bash", "-c", f'sshpass -p "{S}" ssh -p 22 host'],
        ["sh", "-c", f"sh -c 'tool --secret {S}'"], ["openssl", "enc", "-pass", f"pass:{S}"],
        ["tool", "--config", f'{{"user": "me", "password": "{S}"}}'],
        ["curl", "-H", "Authorization: Bearer hunter2hunter2", "http://h"],
    ],
)  # fmt: skip
def test_arguments_after_options_of_passwords(command):
    shown = redaction.arguments(command)
    assert S not in " ".join(shown)
    assert MARK in " ".join(shown)
    assert len(shown) == len(command)
    assert shown[0] == command[0]


def test_what_was_taken_out_of_arguments_is_known():
    command = ["sh", "-c", f"A=b mysql -p{S} --token 't0ken' x", "--password", "third"]
    assert set(redaction.known_arguments(command)) == {S, "t0ken", "third"}


@pytest.mark.parametrize(
    "command",
    [
        ["psql", "-p", "5432", "-U", "shop"], ["mkdir", "-p", "/data/x"], ["tar", "-pxzf", "a"],
        ["ssh", "-p", "22", "h"],
        ["sh", "-c", "echo done > /tmp/marker && sleep 5"], ["tool", "--no-password", "db"],
        ["cat", "it's here"], ["tool", "--password-file", "/run/secrets/pw"],
        ["sh", "-c", 'mysql -p"$PW" --password=$PW -e "select 1"'],
        ["tool", "--token", "{container.name}"], ["curl", "http://host:80/path"],
        ["", "-", "--", "'", '"'], ["nginx", "-s", "reload"],
        ["tool", "--monkey", "banana", "--keyboard=us", "--author", "me"],
    ],
)  # fmt: skip
def test_other_arguments_stay_as_they_are(command):
    assert redaction.arguments(command) == command
    assert redaction.known_arguments(command) == ()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            '{"Env": ["PGPASSWORD=hunter2"], "password": "hunter2"}',
            '{"Env": ["PGPASSWORD=***"], "password": ***}',
        ),
        ("cannot reach amqp://me:hunter2@mq:5672/", "cannot reach amqp://me:***@mq:5672/"),
        ("password: hunter2 ⏎ ok", "password: *** ⏎ ok"),
        ("api_key=abc MAX_RETRIES=5", "api_key=*** MAX_RETRIES=5"),
        ("-----BEGIN RSA PRIVATE KEY----- MIIEabc ⏎ def", "-----BEGIN RSA PRIVATE KEY-----***"),
        ("users: admin:$2y$05$abcdefghijklmnopq, x", "users: admin:***, x"),
        ("token eyJhbGciOiJI.eyJzdWIiOiIx.sig", "token ***"),
        ("AKIAIOSFODNN7EXAMPLE is no key", "*** is no key"),
    ],
)
def test_texts(said, shown):
    assert redaction.text(said) == shown


@pytest.mark.parametrize(
    "said",
    [
        'psql: FATAL: password authentication failed for user "x"', "unexpected token: end of file",
        "no such container: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "image sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef is gone",
        "password=$PASSWORD token=true",
        "cannot restart web: a port it publishes is taken (engine: bind: address)",
        "the network has no subnet; make it again (docker network create --subnet)", "", "…",
        "keep: 3 monkey=4",
    ],
)  # fmt: skip
def test_texts_without_a_secret_stay_as_they_are(said):
    assert redaction.text(said) == said


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("to discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV/ now", "to discord://*** now"),
        ("tgram://123456789:abcdefg/12315544/", "tgram://***"),
        ("NTFYS://host/topic, x", "NTFYS://***, x"),
        ("https://hooks.slack.com/services/T000/B000/XXXX", "https://hooks.slack.com/services/***"),
        ("https://discord.com/api/webhooks/1/abc?wait=1", "https://discord.com/api/webhooks/***"),
        ("https://api.telegram.org/bot12:AB-c/sendMessage", "https://api.telegram.org/bot/***"),
    ],
)
def test_addresses_of_message_services_are_secrets(said, shown):
    assert redaction.text(said) == redaction.label("dockmend.notify", said) == shown


@pytest.mark.parametrize(
    "said",
    [
        "unix:///var/run/docker.sock", "https://docs.example.org/api/webhooks", "tcp://h:2375",
        "mqtt://broker:1883/a", "https://slack.com/help", "postgres://db/shop",
        "https://discord.com/channels/1",
    ],
)  # fmt: skip
def test_other_addresses_stay_as_they_are(said):
    assert redaction.text(said) == said


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["curl", "-uadmin:secret", "http://h"], ["curl", "-u***", "http://h"]),
        (["curl", "-fsSuadmin:secret", "http://h"], ["curl", "-fsSu***", "http://h"]),
        (["redis-cli", "-aSECRET", "PING"], ["redis-cli", "-a***", "PING"]),
        (["ldapsearch", "-wsecret", "-x"], ["ldapsearch", "-w***", "-x"]),
        (["smbclient", "-UA%secret", "//h/s"], ["smbclient", "-U***", "//h/s"]),
        (["mysql", "-pfoo", "shop"], ["mysql", "-p***", "shop"]),
        (["mysql", "-psecret"], ["mysql", "-p***"]),
        (["sshpass", "-pfoo", "ssh"], ["sshpass", "-p***", "ssh"]),
        (["redis-cli", "-a", "SECRET"], ["redis-cli", "-a", "***"]),
        (["mysql", "-P3306", "-p$PASS", "--protocol=tcp"],
            ["mysql", "-P3306", "-p$PASS", "--protocol=tcp"]),
        (["curl", "-fsSL", "http://h"], ["curl", "-fsSL", "http://h"]),
        (["redis-cli", "-n1"], ["redis-cli", "-n1"]),
    ],
)  # fmt: skip
def test_a_password_that_is_attached_to_its_option(command, shown):
    assert redaction.arguments(command) == shown


def test_known_values_are_taken_out_wherever_they_stand():
    known = ["hunter2", "correct horse/staple", "-----\nline one of a key\nline two of a key\n"]
    said = "hunter2 -phunter2 'correct horse/staple' correct%20horse%2Fstaple ⏎ line two of a key"
    assert redaction.text(said, known) == "*** -p*** '***' *** ⏎ ***"
    # A short one in the middle of a word is another word; a very short one is in every other.
    assert redaction.text("latest test", ["test"]) == "latest ***"
    assert redaction.text("a abc", ["a", "abc"]) == "a abc"


def test_a_cut_leaves_no_part_of_a_known_value():
    said = "begins hunt … 40 bytes … er2s and ends hunter2…"
    assert redaction.text(said, ["hunter2s"]) == "begins ***… 40 bytes …*** and ends ***…"


def test_an_environment_that_a_stranger_made_huge_holds_nothing_up():
    """Each of these took minutes, in which nothing else was done."""
    assert redaction.text("x…" * 5000, ["y" * 100_000]) == "x…" * 5000
    repeated = "a" * 30_000
    assert redaction.text(
        f"{repeated}…", [f"{'a' * 15_000}{'b' * each}" for each in range(1, 8)]
    ).endswith(f"{MARK}…")
    assert (
        redaction.text("a line", ["y" * 100, *(f"{each:06d}" for each in range(100_000))]) == MARK
    )
    assert redaction.text("abcd…" * 5000, [f"{each:06d}" for each in range(5000)]) == MARK, (
        "not looked for: not told"
    )
    assert redaction.text("", ["y" * 1_000_000]) == ""


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("traefik.http.middlewares.a.basicauth.users", "admin:$apr1$xyzxyzxy$abcabcabc", MARK),
        ("users", "admin:$2y$05$abcdefghijklmnopqrs", "admin:***"), ("backup.password", "x1", MARK),
        ("checksum", "0123456789abcdef0123456789abcdef", MARK),
        ("t", "Zm9vYmFyQmF6MTIzNDU2Nzg5", MARK),
        ("url", "https://me:hunter2@h/", "https://me:***@h/"),
    ],
)  # fmt: skip
def test_labels_that_hold_hashes_or_tokens(key, value, shown):
    assert redaction.labels({key: value}) == {key: shown}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("com.docker.compose.config-hash", "a" * 64),
        ("com.docker.compose.image", f"sha256:{'a' * 64}"),
        ("org.opencontainers.image.revision", "0123456789abcdef0123456789abcdef01234567"),
        ("traefik.http.routers.a.rule", "Host(`example.com`) && PathPrefix(`/api`)"),
        ("auth.enabled", "true"), ("path", "/home/User1/Projects/Application"),
        ("name", "MyService-Production-Backend-V2"), ("dockmend.heal", "true"),
        ("com.example.text", "a value of some length"), ("image", f"x@sha256:{'a' * 64}"),
    ],
)  # fmt: skip
def test_other_labels_stay_as_they_are(key, value):
    assert redaction.label(key, value) == value


def test_parameters_lose_every_value_of_an_environment():
    given = {
        "command": ["psql", "--password", S], "env": {"PGHOST": "db", "PGPASSWORD": S},
        "exit_code": [0, 1], "image": "tool:1", "keep": {"last": 3}, "labels": {"a": "b" * 64},
        "user": None, "payload": f"pw=1 token={S}", "headers": {"X-Key": S},
        "nested": [{"Env": [f"A={S}", "B"], "token": S}], "timeout": 10.0,
    }  # fmt: skip
    assert redaction.parameters(given) == {
        "command": ["psql", "--password", MARK], "env": {"PGHOST": MARK, "PGPASSWORD": MARK},
        "exit_code": [0, 1], "image": "tool:1", "keep": {"last": 3}, "labels": {"a": MARK},
        "user": None, "payload": "pw=*** token=***", "headers": {"X-Key": MARK},
        "nested": [{"Env": ["A=***", "B=***"], "token": MARK}], "timeout": 10.0,
    }  # fmt: skip


def test_a_command_does_not_repeat_a_value_of_its_environment():
    given = {
        "command": ["sh", "-c", f"connect me/{S}@db", "production"],
        "env": {"X": S, "MODE": "{container.name}"},
    }
    kept = {
        "command": ["sh", "-c", "connect me/***@db", "production"],
        "env": {"X": MARK, "MODE": MARK},
    }
    assert redaction.parameters(given) == kept
    assert redaction.known_in(given) == (S,)
    assert redaction.known_in(kept) == ()


def test_what_is_shown_anyway_is_no_known_value():
    env = {"NAME": "web", "PGPASSWORD": "web", "MODE": "production", "DEBUG": "true"}
    assert redaction.known_values(env, ["web"]) == ("web", "production")
    assert redaction.known_values({"NAME": "web"}, ["web"]) == ()


@pytest.mark.parametrize(
    ("name", "secretive"),
    [
        ("PGPASSWORD", True), ("MYSQL_PWD", True), ("apiKey", True),
        ("AWS_SECRET_ACCESS_KEY", True), ("authToken", True), ("REDISCLI_AUTH", True),
        ("--passphrase", True), ("POSTGRES_PASSWORD_FILE", False), ("monkey", False),
        ("keyboard", False), ("author", False), ("compass", False), ("COMPOSE_PROJECT", False),
        ("", False), ("--no-password", False), ("bypass", False), ("key", True), ("PATH", False),
    ],
)  # fmt: skip
def test_names_that_say_that_a_secret_follows(name, secretive):
    assert redaction.is_secretive(name) is secretive


@given(
    st.text(alphabet="ab1 -='\"$:/@.\\…{}\n", max_size=80),
    st.lists(st.text(max_size=12), max_size=3),
)
def test_any_text_is_taken(said, known):
    shown = redaction.text(said, known)
    for value in known:
        if len(value.strip()) >= redaction.CERTAIN and MARK not in value:
            assert value.strip() not in shown or value.strip() in MARK
    assert len(redaction.arguments(said.split(" "))) == len(said.split(" "))
    redaction.command_line(said)
    redaction.label("k", said)
    redaction.known_arguments([said])


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"Cookie: session={S}; theme=dark", f"Cookie: {MARK}"),
        (f"< set-cookie: id={S}; Path=/", f"< set-cookie: {MARK}"),
        (f"GET https://h/x?sv=1&sig={S}&e=2", f"GET https://h/x?sv=1&sig={MARK}&e=2"),
        (f"https://h/?X-Amz-Signature={S}", f"https://h/?X-Amz-Signature={MARK}"),
        (f"SLACK_WEBHOOK={S}", f"SLACK_WEBHOOK={MARK}"),
        (f"CREATE USER u IDENTIFIED BY '{S}'", f"CREATE USER u IDENTIFIED BY '{MARK}'"),
        (f"ALTER ROLE u WITH PASSWORD '{S}'", f"ALTER ROLE u WITH PASSWORD '{MARK}'"),
        (f"sh: sshpass -p {S} ssh h: not found", f"sh: sshpass -p {MARK} ssh h: not found"),
        (f"curl -u me:{S} https://h: exit code 7", f"curl -u me:{MARK} https://h: exit code 7"),
    ],
)
def test_secrets_of_headers_addresses_statements_and_programs_in_a_line_of_a_log(
    said: str, shown: str
):
    assert redaction.text(said) == shown


@pytest.mark.parametrize(
    "said",
    [
        "webhook: delivered", "signature: ok", "docker run -u 1000:1000 web",
        "cookie: none was set", "password 'wrong", "chown --user root:0 x",
    ],
)  # fmt: skip
def test_what_only_looks_like_those_stays(said: str):
    assert redaction.text(said) == said


def test_only_texts_without_a_secret_are_remembered_and_not_too_many(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(redaction, "_harmless", set())
    for _ in range(2):  # the second time, the harmless one is known
        assert redaction.text("web is down") == "web is down"
        assert redaction.text(f"TOKEN={S}") == f"TOKEN={MARK}"
        assert redaction.text("it says hunter22", ["hunter22"]) == f"it says {MARK}"
    assert redaction._harmless == {"web is down", f"it says {MARK}"}
    assert redaction.text("web is down", ["down"]) == f"web is {MARK}"
    for number in range(redaction.MOST_HARMLESS * 2):
        redaction.text(f"{number:0{redaction.LONGEST_HARMLESS}}")
        redaction.text(f"{number:0{redaction.LONGEST_HARMLESS + 1}}")
    assert 0 < len(redaction._harmless) <= redaction.MOST_HARMLESS
    assert {len(each) for each in redaction._harmless} <= {
        redaction.LONGEST_HARMLESS,
        len("web is down"),
    }
