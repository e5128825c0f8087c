"""The link's faults, closed. Each test runs on our client and, where stock panoramisk has the fault, on stock too:
there the fault is asserted, so that the list of what we mend stays true."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from panoramisk.manager import Manager

from cti.asterisk.ami_client import AmiClient, AmiTiming, retry_delay_s
from cti.errors import ActionFailed, ActionTimeout, BadInput, LinkDown, LinkError, LoginRefused, ProtocolError
from tests.asterisk.scripted_pbx import DEADLINE_S, GREETING, ScriptedPbx

SECRET = "s3cret-of-the-house"
NEVER_S = 0.3
"""How long stock panoramisk is given to do what it never does."""
FAST = AmiTiming(
    connect_timeout_s=2,
    action_timeout_s=0.15,
    ping_interval_s=0.05,
    first_retry_s=0.01,
    last_retry_s=0.05,
    refused_retry_s=0.02,
)
PATIENT = AmiTiming(action_timeout_s=DEADLINE_S, ping_interval_s=60, first_retry_s=0.01, last_retry_s=0.05)


class Stock(Manager):
    """Stock panoramisk; only its waiting is shortened."""

    def __init__(self, port: int, ping_s: float) -> None:
        super().__init__(host="127.0.0.1", port=port, username="cf", secret=SECRET, loop=asyncio.get_running_loop())
        self.reconnect_timeout = 0.02
        self.ping_delay = self.ping_interval = ping_s


def ours(port: int, timing: AmiTiming = PATIENT, **more: Any) -> AmiClient:
    return AmiClient(
        host="127.0.0.1", port=port, username="cf", secret=SECRET, timing=timing, jitter=random.Random(1), **more
    )


Link = Callable[..., Any]


@pytest.fixture
async def pbx() -> AsyncIterator[ScriptedPbx]:
    async with ScriptedPbx.listening() as listening:
        yield listening


@pytest.fixture
async def link(pbx: ScriptedPbx) -> AsyncIterator[Link]:
    """Make a client of a kind: ``ours`` or ``stock``; closed at the end."""
    made: list[Any] = []

    def make(kind: str, timing: AmiTiming = PATIENT, **more: Any) -> Any:
        client = ours(pbx.port, timing, **more) if kind == "ours" else Stock(pbx.port, timing.ping_interval_s)
        made.append(client)
        client.connect()
        return client

    yield make
    for client in made:
        if isinstance(client, Stock):
            client.loop = _Dead()  # stock's close() reconnects
        client.close()
        if isinstance(client, AmiClient):
            await client.wait_closed()


class _Dead:
    """A loop that schedules nothing, for stock clients at the end of a test."""

    def call_later(self, *_: Any) -> None: ...

    def call_soon(self, *_: Any) -> None: ...


async def until(condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    async with asyncio.timeout(deadline_s):
        while not (found := condition()):
            await asyncio.sleep(0.002)
    return found


async def happens(condition: Callable[[], Any], kind: str) -> bool:
    """Whether it comes to ``condition``: ours has until the deadline, stock is given up early."""
    try:
        await until(condition, DEADLINE_S if kind == "ours" else NEVER_S)
    except TimeoutError:
        return False
    return True


async def ending_of(future: asyncio.Future[Any], kind: str) -> str:
    """How an action ended: the class of its answer or error, or ``pending``."""
    done, _ = await asyncio.wait([future], timeout=DEADLINE_S if kind == "ours" else NEVER_S)
    if not done:
        return "pending"
    return "cancelled" if future.cancelled() else type(future.exception() or future.result()).__name__


def heard(client: Any, pattern: str = "*") -> list[Any]:
    events: list[Any] = []
    client.register_event(pattern, lambda _, event: events.append(event) if event.event != "FullyBooted" else None)
    return events


both = pytest.mark.parametrize("kind", ["ours", "stock"])

# ── bytes ─────────────────────────────────────────────────────────────────────────────────────────────────


@both
async def test_a_letter_cut_by_a_packet_boundary_arrives_whole(pbx: ScriptedPbx, link: Link, kind: str) -> None:
    client = link(kind)
    events = heard(client)
    session = await pbx.session()
    await session.log_in()
    raw = "Event: Newchannel\r\nCallerIDName: José\r\nUniqueid: 1.1\r\n\r\n".encode()
    cut = raw.index(b"\xc3") + 1
    await session.send(raw[:cut])
    await asyncio.sleep(0.02)  # so that the kernel does not join the two packets
    await session.send(raw[cut:])
    await until(lambda: events)
    assert events[0].calleridname == ("José" if kind == "ours" else "Jos")


async def test_the_same_events_arrive_however_the_bytes_are_cut(pbx: ScriptedPbx, link: Link) -> None:
    got: list[bytes] = []
    link("ours", on_events=got.extend)
    session = await pbx.session()
    await session.send(*(GREETING[i : i + 1] for i in range(len(GREETING))))
    await session.answer(await session.wanted("Login"))
    wanted = [f"Event: E{n}\r\nName: 李{n}\r\nLast: ".encode() for n in range(5)]
    stream = b"".join(event + b"\r\n\r\n" for event in wanted)
    await session.send(*(stream[i : i + 1] for i in range(len(stream))))
    await until(lambda: len(got) == len(wanted))
    assert got == wanted


@both
async def test_bytes_that_are_no_utf8_are_marked_not_dropped(pbx: ScriptedPbx, link: Link, kind: str) -> None:
    client = link(kind)
    events = heard(client)
    session = await pbx.session()
    await session.log_in()
    await session.send(b"Event: Newchannel\r\nCallerIDName: a\xffb\r\nUniqueid: 1.1\r\n\r\n")
    await until(lambda: events)
    assert events[0].calleridname == ("a\ufffdb" if kind == "ours" else "ab")


@both
async def test_an_empty_last_header_is_kept(pbx: ScriptedPbx, link: Link, kind: str) -> None:
    client = link(kind)
    events = heard(client)
    session = await pbx.session()
    await session.log_in()
    await session.event("UserEvent", Target="")
    await until(lambda: events)
    assert ("target" in events[0]) is (kind == "ours")


@both
@pytest.mark.parametrize("header", ["Event", "Content"])
async def test_a_repeated_event_header_and_one_called_content_do_no_harm(
    pbx: ScriptedPbx, link: Link, kind: str, header: str
) -> None:
    client = link(kind)
    events = heard(client)
    session = await pbx.session()
    await session.log_in()
    await session.send(f"Event: UserEvent\r\n{header}: mine\r\nUniqueid: 1\r\n\r\n".encode())
    await session.event("Later")
    is_whole = await happens(lambda: any(event.event == "Later" for event in events), kind)
    told = next((event for event in events if event.event == "UserEvent"), None)
    is_right = is_whole and told is not None and (header == "Event" or told["content"] == "mine")
    assert is_right is (kind == "ours")


@both
async def test_a_message_without_end_is_not_kept_for_ever(pbx: ScriptedPbx, link: Link, kind: str) -> None:
    problems: list[LinkError] = []
    more = {"max_message_bytes": 100_000, "on_disconnect": lambda _, problem: problems.append(problem)}
    client = link(kind, **(more if kind == "ours" else {}))
    session = await pbx.session()
    await session.log_in()
    for _ in range(8):
        with contextlib.suppress(ConnectionError):
            await session.send(b"X-Filler: " + b"v" * 50_000)
    if kind == "ours":
        await until(lambda: problems)
        assert isinstance(problems[0], ProtocolError)
    else:
        assert await happens(lambda: sum(map(len, client.protocol.queue)) > 400_000, kind)


async def test_a_peer_that_does_not_speak_ami_is_left(pbx: ScriptedPbx, link: Link) -> None:
    problems: list[LinkError] = []
    link("ours", on_disconnect=lambda _, problem: problems.append(problem))
    await (await pbx.session()).send(b"220 mail.example.org ESMTP\r\n")
    await until(lambda: problems)
    assert isinstance(problems[0], ProtocolError)


async def test_a_list_larger_than_we_hold_ends_the_link_not_the_daemon(pbx: ScriptedPbx, link: Link) -> None:
    client = link("ours", max_list_bytes=20_000)
    session = await pbx.session()
    await session.log_in()
    await client.connect()
    listing = client.send_action({"Action": "CoreShowChannels"}, as_list=True)
    action = await session.wanted("CoreShowChannels")
    await session.answer(action, EventList="start")
    for _ in range(5):
        await session.event("CoreShowChannel", ActionID=action["ActionID"], Filler="v" * 5000)
    assert await ending_of(listing, "ours") == "LinkDown"


# ── actions ───────────────────────────────────────────────────────────────────────────────────────────────


@both
async def test_an_action_in_flight_when_the_link_breaks_is_never_sent_again(
    pbx: ScriptedPbx, link: Link, kind: str
) -> None:
    client = link(kind)
    session = await pbx.session()
    await session.log_in()
    await until(lambda: client.authenticated)
    future = client.send_action({"Action": "Originate", "Channel": "PJSIP/x", "Async": "true"})
    await session.wanted("Originate")
    session.drop()
    again = await pbx.session()
    await again.log_in()
    await until(lambda: client.authenticated and client.protocol is not None)
    await asyncio.sleep(0.05)  # stock sends it again upon FullyBooted
    client.send_action({"Action": "Marker"})
    names = [(await again.action())["Action"]]
    while "Marker" not in names:
        names.append((await again.action())["Action"])
    assert ("Originate" in names) is (kind == "stock")
    if kind == "ours":
        assert await ending_of(future, kind) == "LinkDown"


@both
async def test_an_action_that_is_not_answered_times_out(pbx: ScriptedPbx, link: Link, kind: str) -> None:
    client = link(kind, AmiTiming(action_timeout_s=0.1, ping_interval_s=60))
    session = await pbx.session()
    await session.log_in()
    await until(lambda: client.authenticated)
    future = client.send_action({"Action": "Status"})
    assert await ending_of(future, kind) == ("ActionTimeout" if kind == "ours" else "pending")


async def test_a_late_answer_disturbs_nobody(pbx: ScriptedPbx, link: Link) -> None:
    client = link("ours", AmiTiming(action_timeout_s=0.1, ping_interval_s=60))
    session = await pbx.session()
    await session.log_in()
    await client.connect()
    late = client.send_action({"Action": "Status"})
    action = await session.wanted("Status")
    with pytest.raises(ActionTimeout):
        await late
    await session.answer(action)
    next_one = client.send_action({"Action": "Status"})
    await session.answer(await session.wanted("Status"), Message="second")
    assert (await next_one).message == "second"


@both
@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("Originate", "Originate successfully queued"),
        ("Atxfer", "Atxfer successfully queued"),
        ("PlayDTMF", "DTMF successfully queued"),
        ("QueueAdd", "Added interface to queue"),
    ],
)
async def test_answers_are_not_guessed_from_their_text(
    pbx: ScriptedPbx, link: Link, kind: str, action: str, message: str
) -> None:
    client = link(kind)
    session = await pbx.session()
    await session.log_in()
    await until(lambda: client.authenticated)
    future = client.send_action({"Action": action})
    await session.answer(await session.wanted(action), Message=message)
    ending = await ending_of(future, kind)
    assert (ending == "Message") is (kind == "ours"), ending


@both
async def test_a_list_action_answered_with_an_error_ends(pbx: ScriptedPbx, link: Link, kind: str) -> None:
    client = link(kind)
    session = await pbx.session()
    await session.log_in()
    await until(lambda: client.authenticated)
    future = client.send_action({"Action": "QueueStatus"}, as_list=True)
    await session.answer(await session.wanted("QueueStatus"), "Error", Message="Permission denied")
    assert await ending_of(future, kind) == ("Message" if kind == "ours" else "pending")


@both
async def test_a_list_cut_in_the_middle_fails(pbx: ScriptedPbx, link: Link, kind: str) -> None:
    client = link(kind)
    session = await pbx.session()
    await session.log_in()
    await until(lambda: client.authenticated)
    future = client.send_action({"Action": "CoreShowChannels"})
    action = await session.wanted("CoreShowChannels")
    await session.answer(action, EventList="start")
    await session.event("CoreShowChannel", ActionID=action["ActionID"])
    session.drop()
    assert await ending_of(future, kind) == ("LinkDown" if kind == "ours" else "pending")


async def test_a_list_that_stops_coming_times_out(pbx: ScriptedPbx, link: Link) -> None:
    client = link("ours", AmiTiming(action_timeout_s=0.1, ping_interval_s=60))
    session = await pbx.session()
    await session.log_in()
    await client.connect()
    listing = client.send_action({"Action": "CoreShowChannels"})
    await session.answer(await session.wanted("CoreShowChannels"), EventList="start")
    assert await ending_of(listing, "ours") == "ActionTimeout"


async def test_a_list_comes_whole_between_other_events(pbx: ScriptedPbx, link: Link) -> None:
    got: list[bytes] = []
    client = link("ours", on_events=got.extend)
    session = await pbx.session()
    await session.log_in(is_booted=False)
    await client.connect()
    reading = asyncio.create_task(client.read_list("CoreShowChannels"))
    action = await session.wanted("CoreShowChannels")
    await session.answer(action, EventList="start")
    await session.event("CoreShowChannel", ActionID=action["ActionID"], Channel="one")
    await session.event("Hangup", Uniqueid="1.1")
    await session.event("CoreShowChannel", ActionID=action["ActionID"], Channel="two")
    await session.event("CoreShowChannelsComplete", ActionID=action["ActionID"], EventList="Complete")
    assert [item.channel for item in await reading] == ["one", "two"]
    assert got == [b"Event: Hangup\r\nUniqueid: 1.1"]


@both
@pytest.mark.parametrize("value", ["x\r\nAction: Command", "x\nSecret: y"])
async def test_a_line_end_in_a_value_is_refused_before_anything_is_written(
    pbx: ScriptedPbx, link: Link, kind: str, value: str
) -> None:
    client = link(kind)
    session = await pbx.session()
    await session.log_in()
    await until(lambda: client.authenticated)
    is_refused = False
    try:
        client.send_action({"Action": "Setvar", "Value": value})
    except BadInput as problem:
        is_refused = problem.field == "Value"
    client.send_action({"Action": "Marker"})
    seen = await session.action()
    assert is_refused is (kind == "ours")
    assert (seen["Action"] == "Marker") is (kind == "ours")


@pytest.mark.parametrize(
    "action",
    [
        {"Action": "Setvar", "Value": "nul\0"},
        {"Action": "Setvar", "Na\r\nme": "x"},
        {"Action": "Setvar", "Name: y": "x"},
        {"Action": "Setvar", "Variable": ["a=b", "c\r\nd"]},
        {"Action": "Setvar", "Value": "v" * 1100},
        {"Action": "Setvar", "Value": "\ud800"},
        {"Action": "Setvar\r\nAction: Command"},
        {"Action": "Setvar", "ActionID": "1\r\nx: y"},
        {"Action": "Setvar", **{f"Variable{n}": "x" for n in range(130)}},
    ],
)
async def test_what_would_not_arrive_as_it_is_is_refused(pbx: ScriptedPbx, link: Link, action: dict[str, Any]) -> None:
    client = link("ours")
    session = await pbx.session()
    await session.log_in()
    await client.connect()
    with pytest.raises(BadInput):
        client.send_action(action)
    client.send_action({"Action": "Marker"})
    assert (await session.action())["Action"] == "Marker"


async def test_an_error_of_the_pbx_is_an_error_of_the_action(pbx: ScriptedPbx, link: Link) -> None:
    client = link("ours")
    session = await pbx.session()
    await session.log_in()
    await client.connect()
    acting = asyncio.create_task(client.act("Redirect", Channel="gone"))
    await session.answer(await session.wanted("Redirect"), "Error", Message="Channel does not exist")
    with pytest.raises(ActionFailed, match="does not exist"):
        await acting


async def test_without_a_link_an_action_fails_at_once(pbx: ScriptedPbx, link: Link) -> None:
    client = link("ours")
    assert await ending_of(client.send_action({"Action": "Ping"}), "ours") == "LinkDown"


# ── events ────────────────────────────────────────────────────────────────────────────────────────────────


@both
async def test_a_handler_that_raises_does_not_drop_the_link(pbx: ScriptedPbx, link: Link, kind: str) -> None:
    client = link(kind)
    client.register_event("Bad", lambda *_: 1 / 0)
    events = heard(client, "Good")
    session = await pbx.session()
    await session.log_in()
    await session.event("Bad")
    with contextlib.suppress(ConnectionError):
        await session.event("Good")
    assert await happens(lambda: events, kind) is (kind == "ours")


@both
async def test_events_that_carry_an_action_id_of_ours_reach_their_handlers(
    pbx: ScriptedPbx, link: Link, kind: str
) -> None:
    client = link(kind)
    events = heard(client, "OriginateResponse")
    session = await pbx.session()
    await session.log_in()
    await until(lambda: client.authenticated)
    client.send_action({"Action": "Originate", "Async": "true"})
    action = await session.wanted("Originate")
    await session.answer(action, Message="Originate successfully queued")
    await session.event("OriginateResponse", ActionID=action["ActionID"], Response="Failure")
    assert await happens(lambda: events, kind) is (kind == "ours")


async def test_events_arrive_in_the_order_of_the_wire(pbx: ScriptedPbx, link: Link) -> None:
    client = link("ours")
    events = heard(client)
    session = await pbx.session()
    await session.log_in()
    names = [f"E{n}" for n in range(500)]
    await session.send(b"".join(b"Event: %b\r\nX: y\r\n\r\n" % name.encode() for name in names))
    await until(lambda: len(events) == len(names))
    assert [event.event for event in events] == names


async def test_a_handler_may_be_registered_as_a_decorator_and_by_pattern(pbx: ScriptedPbx, link: Link) -> None:
    client = link("ours")
    names: list[str] = []

    @client.register_event("Queue*")
    def told(_: AmiClient, event: Any) -> None:
        names.append(event.event)

    session = await pbx.session()
    await session.log_in()
    for name in ("QueueCallerJoin", "Hangup", "QueueCallerLeave"):
        await session.event(name)
    await until(lambda: len(names) == 2)
    assert names == ["QueueCallerJoin", "QueueCallerLeave"]


# ── life of the link ──────────────────────────────────────────────────────────────────────────────────────


@both
async def test_a_peer_that_takes_pings_and_never_answers_is_declared_dead(
    pbx: ScriptedPbx, link: Link, kind: str
) -> None:
    problems: list[LinkError] = []
    more = {"on_disconnect": lambda _, problem: problems.append(problem)}
    client = link(kind, FAST, **(more if kind == "ours" else {}))
    session = await pbx.session()
    await session.log_in()
    if kind == "ours":
        await until(lambda: problems)
        assert isinstance(problems[0], ActionTimeout)
    else:
        for _ in range(4):
            assert (await session.action())["Action"] == "Ping"
        assert client._connected


@both
async def test_a_refused_login_is_told_once_and_retried_slowly(
    pbx: ScriptedPbx, link: Link, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    problems: list[LinkError] = []
    more = {"on_disconnect": lambda _, problem: problems.append(problem)}
    link(kind, FAST, **(more if kind == "ours" else {}))
    for _ in range(3):
        session = await pbx.session()
        await session.send(GREETING)
        await session.answer(await session.wanted("Login"), "Error", Message="Authentication failed")
        session.writer.close()
    warnings = [record for record in caplog.records if "refused" in record.getMessage()]
    if kind == "ours":
        assert [type(problem) for problem in problems] == [LoginRefused]
        assert len([record for record in warnings if record.levelno >= logging.WARNING]) == 1
    else:
        assert not warnings
    assert kind == "stock" or SECRET not in caplog.text


async def test_a_pbx_that_refuses_logins_while_it_restarts_is_not_waited_for_long(pbx: ScriptedPbx, link: Link) -> None:
    problems: list[LinkError] = []
    client = link("ours", PATIENT, on_disconnect=lambda _, problem: problems.append(problem))
    session = await pbx.session()
    await session.log_in()
    await client.connect()
    session.drop()
    for _ in range(12):
        session = await pbx.session()
        await session.send(GREETING)
        await session.answer(await session.wanted("Login"), "Error", Message="Authentication failed")
        session.writer.close()
    await (await pbx.session()).log_in()
    await until(lambda: client.authenticated)
    assert [type(problem) for problem in problems] == [LinkDown]


def test_retries_back_off_with_jitter_up_to_a_limit() -> None:
    timing = AmiTiming(first_retry_s=0.5, last_retry_s=15, refused_retry_s=60)
    jitter = random.Random(3)
    for failures in range(40):
        limit_s = min(15, 0.5 * 2**failures)
        assert limit_s / 2 <= retry_delay_s(timing, LinkDown("x"), failures, jitter) <= limit_s
    assert len({retry_delay_s(timing, LinkDown("x"), 9, jitter) for _ in range(20)}) == 20
    assert 30 <= retry_delay_s(timing, LoginRefused("x"), 0, jitter) <= 60


@both
async def test_closed_while_a_reconnect_is_due_it_stays_closed(pbx: ScriptedPbx, link: Link, kind: str) -> None:
    client = link(kind)
    session = await pbx.session()
    await session.log_in()
    await until(lambda: client.authenticated)
    session.drop()
    await until(lambda: not client.authenticated if kind == "ours" else not client._connected)
    client.close()
    count = len(pbx.sessions)
    is_back = await happens(lambda: len(pbx.sessions) > count, "stock")
    assert is_back is (kind == "stock")


async def test_closing_fails_what_is_in_flight(pbx: ScriptedPbx, link: Link) -> None:
    client = link("ours")
    session = await pbx.session()
    await session.log_in()
    await client.connect()
    futures = [client.send_action({"Action": "Status"}) for _ in range(3)]
    client.close()
    assert [await ending_of(future, "ours") for future in futures] == ["LinkDown"] * 3
    await session.until_closed()
    with pytest.raises(LinkDown):
        client.connect()


@both
async def test_two_calls_to_connect_make_one_session(pbx: ScriptedPbx, link: Link, kind: str) -> None:
    client = link(kind)
    client.connect()
    await pbx.session()
    assert await happens(lambda: len(pbx.sessions) > 1, "stock") is (kind == "stock")


async def test_a_pbx_that_shuts_down_is_lost_once_and_found_again(pbx: ScriptedPbx, link: Link) -> None:
    problems: list[LinkError] = []
    client = link("ours", on_disconnect=lambda _, problem: problems.append(problem))
    events = heard(client, "Shutdown")
    session = await pbx.session()
    await session.log_in()
    await session.event("Shutdown", Shutdown="Cleanly", Restart="True")
    await session.until_closed()
    again = await pbx.session()
    await again.log_in()
    await until(lambda: client.authenticated)
    assert len(events) == 1
    assert [type(problem) for problem in problems] == [LinkDown]


async def test_attempts_that_fail_alike_are_told_once(pbx: ScriptedPbx, link: Link) -> None:
    problems: list[LinkError] = []
    link("ours", FAST, on_disconnect=lambda _, problem: problems.append(problem))
    for _ in range(4):
        (await pbx.session()).drop()
    session = await pbx.session()
    await session.log_in()
    assert len(problems) == 1


async def test_nothing_that_is_logged_carries_the_secret(
    pbx: ScriptedPbx, link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = link("ours")
    session = await pbx.session()
    login = await session.log_in()
    await client.connect()
    session.drop()
    await (await pbx.session()).log_in()
    await until(lambda: client.authenticated)
    assert login["Secret"] == SECRET
    assert "logged in" in caplog.text
    assert SECRET not in caplog.text + repr(client)
