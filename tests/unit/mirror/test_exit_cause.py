"""Each end has exactly one cause (rules.md)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dockmend.mirror import Mirror
from dockmend.mirror.exit_cause import ContainerRun, asked_by_another, signal_number
from tests.unit.mirror.host import ID, Host


def started(**fields: object) -> Host:
    host = Host()
    host.relist(host.container(**fields), first=True)
    assert host.seen == []
    return host


def end(host: Host, code: int, *, forged: bool = False) -> None:
    host.emit("die", exitCode="0" if forged else str(code))
    host.look(host.ended(code))
    host.wait(0.3)


def test_a_crash_is_a_crash():
    host = started()
    end(host, 7)
    (change,) = host.seen
    assert change.triggers == ("container.crashed", "container.exited")
    assert change.cause == "crashed"


def test_exit_code_0_is_completed_and_only_exited():
    host = started()
    end(host, 0)
    assert [change.cause for change in host.seen] == ["completed"]
    assert host.triggers() == ["container.exited"]


@pytest.mark.parametrize(
    ("signal", "code", "after", "cause"),
    [
        ("15", 143, 0.1, "stopped"),
        ("15", 0, 3.0, "stopped"),
        ("15", 1, 14.0, "stopped"),
        ("15", 1, 16.0, "crashed"),
        ("15", 143, 60.0, "stopped"),  # it took its time over TERM
        ("9", 137, 0.1, "stopped"),
        ("2", 130, 0.1, "stopped"),
        ("3", 131, 0.1, "stopped"),
        ("1", 129, 0.1, "stopped"),  # a HUP that ended it
        ("1", 129, 3600.0, "crashed"),  # a HUP an hour ago excuses nothing
        ("1", 1, 3600.0, "crashed"),
        ("10", 138, 0.1, "stopped"),
        ("10", 1, 1.0, "crashed"),  # USR1 does not ask for an end
        ("SIGUSR1", 1, 1.0, "crashed"),
        ("SIGTERM", 143, 0.1, "stopped"),
    ],
)
def test_a_signal_explains_an_end_or_does_not(signal: str, code: int, after: float, cause: str):
    host = started()
    host.emit("kill", signal=signal)
    host.wait(after)
    host.seen.clear()
    end(host, code)
    assert [change.cause for change in host.seen] == [cause]


def test_the_containers_own_stop_signal_asks_for_an_end():
    host = started(stop_signal="SIGUSR1")
    host.emit("kill", signal="10")
    end(host, 1)
    assert [change.cause for change in host.seen] == ["stopped"]


def test_a_stop_may_follow_its_die():
    host = started()
    host.emit("die", exitCode="1")
    host.look(host.ended(1))
    host.wait(0.1)
    assert host.seen == []
    host.emit("stop")
    host.wait(0.2)
    assert [change.cause for change in host.seen] == ["stopped"]


def test_a_look_that_is_ahead_of_a_late_stream_does_not_call_a_stop_a_crash():
    host = started()
    ended = host.ended(143)
    host.look(ended)
    host.wait(0.8)
    host.emit("kill", signal="15")
    host.emit("die", exitCode="143")
    host.emit("stop")
    host.look(ended)
    host.wait(0.3)
    assert [change.cause for change in host.seen] == ["stopped"]


def test_once_the_stream_has_caught_up_with_a_look_nothing_is_waited_for():
    host = started()
    host.look(host.ended(7))
    host.emit("die", exitCode="7")
    host.wait(0.3)
    assert [change.cause for change in host.seen] == ["crashed"]


def test_an_end_that_a_look_told_of_alone_is_a_crash_after_a_second():
    host = started()
    host.look(host.ended(7))
    host.wait(0.9)
    assert host.seen == []
    host.wait(0.2)
    assert [change.cause for change in host.seen] == ["crashed"]


def test_a_label_cannot_forge_the_exit_code():
    host = started(labels={"exitCode": "0"})
    end(host, 7, forged=True)
    assert [(change.cause, change.subject.exit_code) for change in host.seen] == [("crashed", 7)]  # type: ignore[union-attr]


def test_a_label_cannot_forge_the_signal():
    host = started(labels={"signal": "15"})
    host.emit("kill", signal="15")  # it was a USR1: the label overwrote it
    end(host, 1)
    assert [change.cause for change in host.seen] == ["crashed"]


def test_an_oom_kill_needs_its_event_and_137():
    host = started()
    host.emit("oom")
    end(host, 137)
    assert host.seen[0].triggers == ("container.oom_killed", "container.exited")


def test_the_oom_of_a_child_is_not_its_end():
    host = started(oom_killed=True)
    end(host, 137)
    assert [change.cause for change in host.seen] == ["crashed"]


def test_a_crash_waits_while_the_engine_restarts_it():
    host = started(restart_policy="always")
    host.emit("die", exitCode="1")
    present = host.ended(1)
    host.look(replace(present, state="restarting"))
    host.wait(5.0)
    assert host.seen == []
    host.emit("start")
    assert [(change.cause, change.recovered) for change in host.seen if change.cause] == [
        ("crashed", True)
    ]


def test_a_stop_in_the_engines_backoff_is_a_persons():
    host = started(restart_policy="always")
    host.emit("die", exitCode="1")
    present = host.ended(1)
    host.look(replace(present, state="restarting"))
    host.wait(5.0)
    host.emit("stop")
    assert [change.cause for change in host.seen] == ["stopped"]


@pytest.mark.parametrize("stops", [1, 2])
def test_the_stop_of_dockmends_own_restart_in_the_engines_backoff_is_its_own(stops: int):
    """Nothing dies of it and no signal is sent: the run had ended by itself. A second stop is a
    person's."""
    host = started(restart_policy="always")
    host.emit("die", exitCode="1")
    present = host.ended(1)
    host.look(replace(present, state="restarting"))
    host.wait(1.0)
    host.mirror.expect(ID, "restart")
    host.mirror.asks_to_stop(ID, "a1", again=True, patience=10.0)
    for _ in range(stops):
        host.now += 0.01
        host.emit("stop")
    host.now += 0.2
    host.emit("start")
    host.emit("restart")
    host.wait(1.0)
    assert ("stopped" in [change.cause for change in host.seen]) is (stops == 2)
    assert host.mirror.owes_a_stop(ID) is (stops == 2)


def test_five_restarts_in_ten_minutes_are_a_loop():
    host = started(restart_policy="always")
    for number in range(1, 7):
        host.now += 1.0
        host.emit("die", exitCode="1")
        host.now += 0.2
        host.emit("start")
        present = host.mirror.container(host.container().id)
        assert present is not None
        host.look(replace(present, started_at=host.now - 0.05))
        host.wait(0.3)
        assert host.triggers().count("container.restart_loop") == (number >= 5)


@pytest.mark.parametrize(
    ("setting", "policy", "triggers"),
    [
        ("restart policy", "always", ["container.stopped", "container.exited"]),
        ("restart policy", "unless-stopped", ["container.stopped", "container.exited"]),
        ("restart policy", "no", ["container.crashed", "container.exited"]),
        ("restart policy", "on-failure", ["container.crashed", "container.exited"]),
        ("act", "always", ["container.crashed", "container.exited"]),
        ("leave", "no", ["container.exited"]),
    ],
)
def test_an_end_that_nobody_saw(setting: str, policy: str, triggers: list[str]):
    host = Host(Mirror(setting))  # type: ignore[arg-type]
    host.relist(host.container(restart_policy=policy), first=True)
    host.relist(host.ended(1), blind=True)
    host.wait(0.3)
    assert [change.cause for change in host.seen] == ["unknown"]
    assert host.triggers() == triggers


def test_a_persons_stop_of_a_run_that_began_unseen_is_that_runs():
    """What is replayed tells of the stop alone: the crash before it, and the start after that, are
    forgotten."""
    host = Host()
    host.relist(host.container(restart_policy="on-failure"), first=True)
    host.now += 50
    host.emit("kill", signal="9")
    host.emit("die", exitCode="137")
    host.relist(host.ended(137, started_at=host.now - 20), blind=True)
    host.wait(0.3)
    ends = {(change.cause, change.recovered) for change in host.seen if change.cause}
    assert ends == {("unknown", True), ("stopped", False)}
    assert host.mirror.stopped(host.container().id)


def test_a_persons_stop_right_after_a_restart_of_before_this_start_is_no_part_of_that():
    host = Host()
    host.relist(host.container(), first=True)
    host.mirror.acted(host.container().id, 999.0, 1010.0, begun=900.0)
    for action, said in (
        ("kill", {"signal": "15"}),
        ("die", {"exitCode": "143"}),
        ("stop", {}),
        ("start", {}),
    ):
        host.emit(action, **said)
        host.now += 0.1
    host.look(host.container(started_at=1000.3))
    for action, said in (("kill", {"signal": "15"}), ("die", {"exitCode": "143"}), ("stop", {})):
        host.emit(action, **said)
    host.look(host.ended(143))
    host.wait(0.3)
    assert [change.cause for change in host.seen if change.cause] == ["stopped"]
    assert host.mirror.stopped(host.container().id)


def test_a_kill_of_a_run_that_began_unseen_and_goes_on_excuses_its_end():
    host = Host()
    host.relist(host.container(), first=True)
    host.now += 50
    host.emit("kill", signal="15")
    host.relist(host.container(started_at=host.now - 20), blind=True)
    host.now += 1
    host.emit("die", exitCode="143")
    host.look(host.ended(143))
    host.wait(0.3)
    assert [change.cause for change in host.seen if change.cause] == ["unknown", "stopped"]


def test_at_the_first_start_what_is_exited_is_history():
    host = Host()
    host.relist(host.container(state="exited", exit_code=1, finished_at=950.0), first=True)
    host.wait(10.0)
    assert host.seen == []


def test_an_engine_that_goes_down_ends_its_containers_itself():
    host = started()
    host.emit("kill", signal="15")
    host.emit("stop")
    host.emit("die", exitCode="143")  # and nobody answers the inspect any more
    host.wait(5.0)
    assert host.seen == []
    host.mirror.engine_lost(host.now)
    host.mirror.engine_renewed(host.now, host.now + 1, kept_containers=False)
    host.now += 2
    host.relist(host.ended(143))
    host.seen += host.mirror.engine_back(host.now)
    host.wait(3.0)
    assert [change.cause for change in host.seen if change.kind == "container"] == ["left_down"]


@pytest.mark.parametrize(("ago", "cause"), [(0.5, "oom_killed"), (60.0, "crashed")])
def test_a_child_out_of_memory_long_ago_explains_nothing(ago: float, cause: str):
    host = started()
    host.emit("oom")
    host.wait(ago)
    end(host, 137)
    assert [change.cause for change in host.seen] == [cause]


@pytest.mark.parametrize(
    ("code", "cause"), [(137, "stopped"), (143, "stopped"), (1, "crashed"), (138, "crashed")]
)
def test_where_a_label_hides_the_signal_the_exit_code_tells(code: int, cause: str):
    host = started(labels={"signal": "1"})
    host.emit("kill", signal="1")
    end(host, code)
    assert [change.cause for change in host.seen] == [cause]


def test_an_inspect_answer_older_than_the_stream_changes_nothing():
    host = started()
    running = host.mirror.container(host.container().id)
    assert running is not None
    host.now += 1
    host.emit("die", exitCode="7")
    host.look(running)
    present = host.mirror.container(running.id)
    assert present is not None
    assert present.state == "exited"
    assert running.id in host.mirror.wanted
    host.look(host.ended(7))
    host.wait(0.3)
    host.now += 1
    host.emit("start")
    host.look(replace(running, state="exited", exit_code=7, finished_at=host.now - 1))
    assert [change.triggers[0] for change in host.seen] == [
        "container.crashed",
        "container.started",
    ]


def test_inspect_is_believed_in_the_end():
    """An engine whose clock was set back tells of runs that seem older than those that are
    known."""
    host = started()
    earlier = replace(host.container(), started_at=500.0)
    for _ in range(4):
        host.look(earlier)
    present = host.mirror.container(earlier.id)
    assert present is not None
    assert present.started_at == 500.0
    host.now = 510.0
    end(host, 7)
    assert [change.cause for change in host.seen if change.cause] == ["crashed"]


def test_a_die_that_is_repeated_later_does_not_move_the_end():
    host = started()
    host.emit("kill", signal="15")
    end(host, 1)
    host.now += 3600
    host.emit("die", exitCode="1")
    host.wait(1)
    assert [change.cause for change in host.seen] == ["stopped"]
    assert host.mirror.stopped(host.container().id)


@pytest.mark.parametrize(
    ("stop_signal", "number"),
    [("SIGTERM", 15), ("SIGQUIT", 3), ("SIGWINCH", 28), ("28", 28), ("SIGRTMIN+3", 37)],
)
@pytest.mark.parametrize(
    ("kills", "stops", "restarts", "another"),
    [
        ([(0, 15)], 1, 0, False),
        ([(0, 15), (10, 9)], 1, 0, False),
        ([(0, 15)], 1, 1, False),
        ([(0, 15), (2, 9)], 1, 0, True),
        ([(0, 15), (2, 15)], 1, 0, True),
        ([(0, 15), (2, 1)], 1, 0, False),
        ([(0, 9)], 1, 0, False),
        ([(0, 9), (0.1, 15)], 1, 0, True),
        ([(0, 15), (2, 15)], 2, 0, True),
        ([(0, 15), (2, 15)], 2, 2, False),
        ([(0, 9)], 0, 0, True),
        ([], 0, 0, False),
    ],
    ids=[
        "its own", "its own, which took its timeout", "its own restart", "a person's kill",
        "a person's TERM", "a HUP", "its own, by SIGKILL", "killed, and still there for its call",
        "a person's stop", "a person's restart", "killed before its call", "ended on its own",
    ],
)  # fmt: skip
def test_what_a_person_asked_for_beside_dockmends_own_restart(
    kills: list[tuple[float, int]],
    stops: int,
    restarts: int,
    another: bool,
    stop_signal: str,
    number: int,
):
    """Whatever its stop signal is: that of Apache's web server is WINCH, that of systemd
    RTMIN+3."""
    container = Host().container(stop_signal=stop_signal)
    run = ContainerRun(
        kills=[(100.0 + at, number if each == 15 else each) for at, each in kills],
        stops=[103.0 + each for each in range(stops)],
        restarts=[105.0 + each for each in range(restarts)], calls=["a1"], renewals=["a1"],
        patience=10.0,
    )  # fmt: skip
    assert asked_by_another(run, container, followed=True) is another
    run.signals = True  # then signals tell nothing
    assert asked_by_another(run, container, followed=True) is (another and stops == 2)


@pytest.mark.parametrize(
    ("ago", "timeout", "patience", "another"),
    [
        (3600.0, 10.0, 10.0, False),
        (16.0, 10.0, 10.0, False),
        (14.0, 10.0, 10.0, True),
        (50.0, 60.0, 10.0, True),  # the engine would give it so long to end
        (50.0, 10.0, 60.0, True),  # or dockmend's call did
    ],
)
@pytest.mark.parametrize("rest", ["a restart", "found it down", "had not left"])
def test_a_signal_that_it_took_and_went_on_asks_for_nothing_any_more(
    ago: float, timeout: float, patience: float, another: bool, rest: str
):
    """What a person sent long before dockmend's own restart is not what ended it."""
    at = 10_000.0
    run = ContainerRun(
        kills=[(at - ago, 15)], died_at=at, calls=["a1"], renewals=["a1"], patience=patience
    )
    if rest != "found it down":
        run.stops = [at + 0.1]
        run.kills.append((at - 0.1, 15))
    if rest == "had not left":
        run.called_at = at - 0.2
    assert asked_by_another(run, Host().container(stop_timeout=timeout), followed=True) is another


def test_a_signal_of_long_ago_does_not_hide_a_persons_kill_amid_dockmends_restart():
    hup, term, kill = (100.0, 1), (9_999.0, 15), (9_999.9, 9)
    run = ContainerRun(
        kills=[hup, term, kill],
        died_at=10_000.0,
        calls=["a1"],
        renewals=["a1"],
        stops=[10_000.1],
        patience=10.0,
    )
    assert asked_by_another(run, Host().container(), followed=True)


def test_a_kill_of_before_dockmends_call_had_left_is_a_persons():
    run = ContainerRun(
        kills=[(99.9, 9)],
        died_at=100.2,
        calls=["a1"],
        renewals=["a1"],
        stops=[100.3],
        patience=10.0,
    )
    assert not asked_by_another(run, Host().container(), followed=True)
    run.called_at = 100.0
    assert asked_by_another(run, Host().container(), followed=True)


def test_a_container_whose_stop_signal_is_kill_is_ended_by_dockmends_own():
    run = ContainerRun(
        kills=[(99.0, 9), (99.1, 15)],
        died_at=99.2,
        calls=["a1"],
        renewals=["a1"],
        stops=[99.3],
        patience=10.0,
    )
    assert not asked_by_another(run, Host().container(stop_signal="SIGKILL"), followed=True)


def test_signals_that_are_told_again_are_no_other_signals():
    """After a start of dockmend's the engine repeats what was kept already."""
    host = started()
    host.mirror.asks_to_stop(ID, "a1", patience=10.0)
    for _ in range(2):
        host.emit("kill", signal="15")
    assert len(host.mirror.entries[ID].kept.run.kills) == 1


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("15", 15), ("TERM", 15), ("sigterm", 15), ("SIGRTMIN+3", 37), ("RTMIN", 34),
        ("SIGRTMAX-1", 63), ("37", 37), ("", 0), ("9" * 5000, 0), ("1000", 0), ("SIGNOTHING", 0),
        ("RTMIN+", 0), ("RTMINX", 0),
    ],
)  # fmt: skip
def test_signals_by_name_and_number(text: str, number: int):
    assert signal_number(text) == number


@pytest.mark.parametrize(("within", "cause"), [(600.0, "stopped"), (10.0, "crashed")])
def test_an_end_long_after_a_stop_signal_is_that_stops_if_the_engine_waits_for_so_long(
    within: float, cause: str
):
    host = started(stop_timeout=within)
    host.emit("kill", signal="15")
    host.now += 300.0
    end(host, 1)
    assert [change.cause for change in host.seen] == [cause]


@pytest.mark.parametrize("said", ["9" * 5000, "SIGNOTHING", "²", "RTMIN+99"])
def test_a_stop_signal_that_is_none_is_no_fault(said: str):
    """An image's author may write anything there: the engine asks only whoever makes the
    container."""
    host = started(stop_signal=said)
    host.mirror.asks_to_stop(ID, "a1", patience=10.0)
    host.emit("kill", signal="15")
    end(host, 143)
    assert [change.cause for change in host.seen] == ["stopped"]


def test_a_signal_of_any_length_in_an_event_is_no_fault():
    host = started()
    host.emit("kill", signal="9" * 5000)
    end(host, 1)
    assert [change.cause for change in host.seen] == ["crashed"]


@pytest.mark.parametrize(
    ("events", "since", "owed"),
    [
        (("kill", "die", "stop", "start"), 0.0, True),
        (("kill", "die", "stop", "start"), 9.0, False),
        (("kill", "die", "stop", "start", "restart"), 0.0, False),
        (("die", "start"), 0.0, False),
        (("kill", "die", "stop"), 0.0, False),
    ],
    ids=[
        "stopped and begun again",
        "stopped before that",
        "a person's restart",
        "it crashed",
        "it stays down",
    ],
)
def test_whether_what_another_program_began_undid_a_persons_stop(
    events: tuple[str, ...], since: float, owed: bool
) -> None:
    host = started()
    since += host.now
    for action in events:
        host.now += 0.1
        host.emit(action, signal="15", exitCode="143" if "stop" in events else "1")
    seen = host.container(started_at=host.now - 0.05) if "start" in events else host.ended(143)
    host.look(seen)
    assert host.mirror.undoes_a_stop(seen, since) is owed
    assert host.mirror.owes_a_stop(ID) is owed


@pytest.mark.parametrize("heard", [("kill", "die", "stop"), ("die", "stop")])
def test_nor_is_it_if_the_engine_forgot_that_the_restart_began_another_run(heard: tuple[str, ...]):
    """The engine replays the end of the second run only; then a list tells when that run began."""
    host = Host()
    host.relist(host.container(), first=True)
    host.mirror.acted(ID, 999.0, 1010.0, begun=900.0)
    host.mirror.asks_to_stop(ID, "restart-1", 900.0, again=True, patience=10.0)
    host.now += 5
    said = {"kill": {"signal": "15"}, "die": {"exitCode": "143"}, "stop": {}}
    for action in heard:
        host.emit(action, **said[action])
    host.relist(host.ended(143, started_at=1000.3), blind=True)
    host.wait(0.3)
    host.look(host.ended(143, started_at=1000.3))
    host.wait(0.3)
    assert [change.cause for change in host.seen if change.cause] == ["stopped"]
    assert host.mirror.stopped(ID)


def test_a_run_that_crashed_after_such_a_restart_is_a_crash():
    host = Host()
    host.relist(host.container(), first=True)
    host.mirror.acted(ID, 999.0, 1010.0, begun=900.0)
    host.now += 5
    host.emit("die", exitCode="3")
    host.relist(host.ended(3, started_at=1000.3, signalled=False), blind=True)
    host.wait(0.3)
    assert [change.cause for change in host.seen if change.cause] == ["crashed"]
