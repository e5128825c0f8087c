"""The desk sockets: one WebSocket per desk, messages to that desk only (``docs/desk-protocol.md``).

The naive way is ``await socket.send(…)`` for each of many pages; one sleeping browser then holds up the rest for ever.
Here a message is encoded once, written without waiting, and a page whose unread bytes pass a bound is cut off: it comes
back and gets a snapshot. No compression: it costs ten times what the message costs.

``listen`` and ``carry_out`` are called synchronously from the driver's loop and return at once. What one turn of the
driver told a page is written right behind it, in one go: a card that changed three times in it is drawn once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State
from websockets.typing import Origin, Subprotocol

from cti.commands import ClosePop, Command, ShowPop
from cti.errors import BadInput, CallfloorError
from cti.events import (
    AgentState,
    AgentStateChanged,
    CommandFailed,
    DeskFresh,
    DeskStale,
    Event,
    HoldRecalled,
    PageLeft,
    PlanChanged,
    Repaired,
    TransferEnded,
)
from cti.routing.plan import PhoneKind, Plan
from cti.screenpop.desk import GONE_AFTER_S, SILENT_AFTER_S, Admitted, Busy, Desk
from cti.screenpop.frames import (
    BAD_MESSAGE,
    MAX_FRAME_BYTES,
    NO_SESSION,
    SUBPROTOCOL,
    TAKEN_OVER,
    TOO_LATE,
    TOO_MANY,
    Beat,
    Hello,
    body,
    parse,
)
from cti.screenpop.margins import Margins
from cti.screenpop.pop import PopChanged, PopClosed, Pops

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request

    from cti.ids import AgentId, InteractionId

COOKIE = "callfloor_session"
PATH = "/desk/socket"
GOING_AWAY = 1001
"""What a browser says when it leaves or reloads a page; a line that broke says nothing."""

UNREAD_BYTES = 256 * 1024
"""A page that has not read this much is cut off."""

HELLO_S = 5.0
BUSY_S = 600.0
"""How long a page that was told ``busy`` may wait for its person to decide."""

SOCKETS_PER_SESSION = 8
MESSAGES_PER_S = 5.0
MESSAGES_AT_ONCE = 20.0
RECHECK_S = 60.0
FLOOR_EVERY_S = 0.5

RONA = "ring_no_answer"
"""The reason of an agent who is NOT_READY because the phone rang out (``cti.inbound.RING_FAILURE``)."""

FAILED_TRANSFERS = frozenset({"failed", "nobody", "refused"})
"""How a transfer may end so that the agent, who has the caller back, must be told."""

HEARD = body({"type": "heard"})

log = logging.getLogger(__name__)
_socket_log = log.getChild("socket")
# Below that it would write each request down, session cookie and all. No level of its own: the site's holds above it.
_socket_log.addFilter(lambda record: record.levelno >= logging.INFO)


@dataclass(frozen=True, slots=True)
class DeskUser:
    """Who a session belongs to. ``session`` names the session without being able to open it (a hash or row id)."""

    user: str
    role: str
    agent: AgentId | None
    session: str
    language: str
    is_supervisor: bool


@dataclass(frozen=True, slots=True)
class FloorPicture:
    """The floor as supervisors see it: entries with an ``id`` each, JSON-ready."""

    agents: Sequence[dict[str, Any]]
    queues: Sequence[dict[str, Any]]


@dataclass(slots=True)
class _Socket:
    """One page's connection."""

    number: int
    connection: ServerConnection
    user: DeskUser
    token: str
    seat: _Seat | None = None
    is_ending: bool = False
    allowance: float = MESSAGES_AT_ONCE
    allowed_at: float = 0.0
    unsent: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _Seat:
    """A desk and the socket that owns it."""

    desk: Desk
    user: DeskUser
    socket: _Socket | None = None
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class _FloorSent:
    agents: dict[str, dict[str, Any]] = field(default_factory=dict)
    queues: dict[str, dict[str, Any]] = field(default_factory=dict)


class DeskHub:
    """Serves all desks.

    ``inbox`` gets ``DeskFresh`` and ``DeskStale``. ``clock`` is Unix seconds. ``authenticate`` turns the session cookie
    into a user, None for a session that is unknown, expired or revoked; it raises ``CallfloorError`` when it cannot
    tell (an open desk then stays, a new one is refused with 1011). ``origins`` are the site's own, as browsers send
    them. ``picture`` gives the floor for supervisors; None: there is none.
    """

    def __init__(
        self,
        *,
        inbox: Callable[[Event], None],
        clock: Callable[[], float],
        authenticate: Callable[[str], Awaitable[DeskUser | None]],
        pops: Pops,
        host: str,
        port: int,
        origins: Sequence[str],
        picture: Callable[[], FloorPicture] | None = None,
        margins: Margins | None = None,
        silent_after_s: float = SILENT_AFTER_S,
        gone_after_s: float = GONE_AFTER_S,
        hello_s: float = HELLO_S,
        recheck_s: float = RECHECK_S,
        unread_bytes: int = UNREAD_BYTES,
    ) -> None:
        self.host = host
        self.port = port
        self._inbox = inbox
        self._clock = clock
        self._authenticate = authenticate
        self._pops = pops
        self._origins = [Origin(origin) for origin in origins]
        self._picture = picture
        self._silent_after_s = silent_after_s
        self._gone_after_s = gone_after_s
        self._hello_s = hello_s
        self._recheck_s = recheck_s
        self._unread_bytes = unread_bytes
        self._plan: Plan | None = pops.plan
        self._margins = margins if margins is not None else Margins(pops.plan)
        self._states: dict[AgentId, AgentStateChanged] = {}
        self._seats: dict[str, _Seat] = {}
        self._sockets: dict[int, _Socket] = {}
        self._next_number = 1
        self._floor_sent = _FloorSent()
        self._watching: dict[str, _Seat] = {}
        self._floor_timer: asyncio.TimerHandle | None = None
        self._changed: dict[PopChanged, None] = {}
        """Cards to be drawn at the end of this turn."""
        self._unsent: list[_Socket] = []
        self._flushing: asyncio.Handle | None = None
        self._closings: set[asyncio.Task[None]] = set()
        self._server: Server | None = None
        self._unsubscribe = pops.subscribe(self._show_change)

    # ── life ──────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Listen. ``port`` 0 takes a free one; ``port`` then names it."""
        self._server = await serve(
            self._serve_page,
            self.host,
            self.port,
            origins=self._origins,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            process_request=_refuse_other_paths,
            server_header=None,
            open_timeout=self._hello_s,
            close_timeout=2,
            max_size=MAX_FRAME_BYTES,
            max_queue=4,
            logger=_socket_log,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Tell every page that the server stops (1012: restart), and stop."""
        self._unsubscribe()
        for seat in self._seats.values():
            if seat.timer is not None:
                seat.timer.cancel()
        if self._floor_timer is not None:
            self._floor_timer.cancel()
        if self._server is not None:
            self._server.close(code=1012)
            await self._server.wait_closed()
        if self._closings:
            await asyncio.wait(self._closings)

    # ── from the driver ───────────────────────────────────────────────────────────────────────────────────

    def listen(self, fact: Event) -> None:
        """Every fact passes here; what a page shows is told to that page."""
        match fact:
            case PlanChanged():
                self._follow_plan(fact.plan)
            case AgentStateChanged():
                self._states[fact.agent] = fact
                self._send(fact.agent, self._state(fact.agent))
                if fact.state is AgentState.NOT_READY and fact.reason == RONA:
                    self.notify(fact.agent, "rona")
            case Repaired() if fact.agent is not None:
                self.notify(fact.agent, "repaired", fact.what)
            case CommandFailed() if fact.interaction is not None:
                code = "recording_failed" if fact.command == "PauseRecording" else "command_failed"
                for agent in self._pops.shown_in(fact.interaction):
                    self.notify(agent, code, fact.why)
            case HoldRecalled():
                self.notify(fact.agent, "hold_recalled", f"{fact.held_s:.0f}")
            case TransferEnded() if fact.outcome in FAILED_TRANSFERS:
                self.notify(fact.agent, f"transfer_{fact.outcome}")
            case _:
                pass
        for agent in self._margins.listen(fact):
            self._send(agent, {"type": "beside", **self._margins.of(agent)})
        self._pops.listen(fact)
        self._plan_floor()

    def carry_out(self, command: Command) -> None:
        """Show or close a card (``ShowPop``, ``ClosePop``); other commands are not for screens."""
        if isinstance(command, ShowPop | ClosePop):
            self._pops.carry_out(command, now=self._clock())

    def notify(self, agent: AgentId, code: str, text: str = "") -> None:
        """Tell the person at this desk something. ``code`` is translated by the page, ``text`` completes it."""
        self._send(agent, {"type": "notice", "code": code, "text": text})

    def has_page(self, agent: AgentId) -> bool:
        """Whether a page of this agent is connected and owns the desk."""
        seat = self._seats.get(agent)
        return seat is not None and seat.socket is not None

    def revoke(self, session_or_agent: str) -> None:
        """A log-in ended: close its sockets (4401) and forget its desk. Takes a ``DeskUser.session`` or an agent."""
        for socket in list(self._sockets.values()):
            if session_or_agent in {socket.user.session, socket.user.agent}:
                self._end_socket(socket, NO_SESSION, "session ended")
        for key, seat in list(self._seats.items()):
            if session_or_agent in {seat.user.session, seat.user.agent}:
                self._clear(key, seat)

    # ── pages ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _serve_page(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        token = _session_token(connection.request)
        user = await self._authenticate(token) if token else None
        if user is None:
            await connection.close(NO_SESSION, "no session")
            return
        if sum(1 for socket in self._sockets.values() if socket.user.session == user.session) >= SOCKETS_PER_SESSION:
            await connection.close(TOO_MANY, "too many sockets")
            return
        socket = _Socket(self._next_number, connection, user, token, allowed_at=self._clock())
        self._next_number += 1
        self._sockets[socket.number] = socket
        watch = asyncio.create_task(self._watch_session(socket))
        try:
            await self._read(socket)
        except ConnectionClosed:
            pass
        except TimeoutError:
            await connection.close(TOO_LATE, "no hello")
        except BadInput as error:
            log.info("! desk of %s: %s", user.user, error)
            await connection.close(BAD_MESSAGE, str(error))
        finally:
            watch.cancel()
            self._leave(socket)

    async def _read(self, socket: _Socket) -> None:
        patience_s: float | None = self._hello_s
        while True:
            if patience_s is None:
                frame = await socket.connection.recv()
            else:
                async with asyncio.timeout(patience_s):
                    frame = await socket.connection.recv()
            if socket.is_ending:
                return
            if not self._may_speak(socket):
                await socket.connection.close(TOO_MANY, "too many messages")
                return
            message = parse(frame)
            if isinstance(message, Hello):
                patience_s = None if self._admit(socket, message) else BUSY_S
            elif socket.seat is None:
                raise BadInput("type", "beat_before_hello")
            else:
                self._hear(socket.seat, socket, message)

    async def _watch_session(self, socket: _Socket) -> None:
        """A session that ends without a word (it expired) ends its desk too."""
        while True:
            await asyncio.sleep(self._recheck_s)
            try:
                user = await self._authenticate(socket.token)
            except (CallfloorError, OSError) as error:
                log.warning("! cannot check the session of %s: %s", socket.user.user, error)
                continue
            # Another language is no other person: the open page keeps the one that it was drawn in.
            if user is None or replace(user, language=socket.user.language) != socket.user:
                self._end_socket(socket, NO_SESSION, "session ended or changed")
                return

    def _may_speak(self, socket: _Socket) -> bool:
        now = self._clock()
        gained = max(0.0, now - socket.allowed_at) * MESSAGES_PER_S
        socket.allowance = min(MESSAGES_AT_ONCE, socket.allowance + gained) - 1
        socket.allowed_at = now
        return socket.allowance >= 0

    def _admit(self, socket: _Socket, hello: Hello) -> bool:
        """Give the desk to this page, or tell it who has it. Nothing here waits, so nobody comes in between."""
        if socket.user.agent is not None:
            self._pops.meet(socket.user.agent, socket.user.role, socket.user.language)
        now = self._clock()
        seat = self._seat_for(socket)
        answer = seat.desk.hello(socket.number, hello, now=now)
        if isinstance(answer, Busy):
            self._write(socket, body({"type": "busy"}))
            return False
        if answer.ousted is not None:
            self._oust(answer.ousted)
        seat.socket, socket.seat = socket, seat
        if seat.user != socket.user:
            # Another role may see other things: nothing that was kept for the one before is shown to this one.
            if (seat.user.user, seat.user.role) != (socket.user.user, socket.user.role):
                seat.desk.renew(secrets.token_hex(8))
                answer = replace(answer, is_resumed=False, missed=())
            seat.user = socket.user
            if not seat.user.is_supervisor:
                self._watching.pop(_key(socket), None)
        if answer.is_other_page:
            self._page_left(seat)
        self._welcome(seat, socket, answer)
        self._arm(seat)
        return True

    def _welcome(self, seat: _Seat, socket: _Socket, answer: Admitted) -> None:
        self._write(socket, body({"type": "welcome", "epoch": seat.desk.epoch, "resumed": answer.is_resumed}))
        if answer.is_resumed:
            for frame in answer.missed:
                self._write(socket, frame)
            self._plan_floor()
            return
        agent, role, language = seat.user.agent, seat.user.role, seat.user.language
        snapshot: dict[str, Any] = {"type": "snapshot", "agent": None, "pops": [], "desk": seat.desk.describe()}
        if agent is not None:
            snapshot["agent"] = self._state(agent)
            snapshot["beside"] = self._margins.of(agent)
            snapshot["pops"] = [self._pops.message(at, agent, role, language) for at in self._pops.shown_to(agent)]
        self._put(seat, body(snapshot))
        if seat.user.is_supervisor and self._picture is not None:
            self._send_floor()
            self._watching[_key(socket)] = seat
            sent = self._floor_sent
            self._put(seat, body(_floor(list(sent.agents.values()), list(sent.queues.values()))))

    def _hear(self, seat: _Seat, socket: _Socket, beat: Beat) -> None:
        # An answer to each beat: a page that gets none within moments knows that the way here stands still.
        self._write(socket, HEARD)
        self._judge(seat, seat.desk.beat(socket.number, beat, now=self._clock()))
        if seat.timer is None:
            self._arm(seat)

    def _leave(self, socket: _Socket) -> None:
        del self._sockets[socket.number]
        seat = socket.seat
        if seat is None or seat.socket is not socket:
            return
        seat.socket = None
        has_page_left = socket.connection.close_code == GOING_AWAY
        seat.desk.left(socket.number, has_page_left=has_page_left, now=self._clock())
        if has_page_left:
            self._page_left(seat)
        if seat.user.agent is None:
            self._seats.pop(_key(socket), None)
            self._watching.pop(_key(socket), None)
        else:
            self._arm(seat)

    def _page_left(self, seat: _Seat) -> None:
        """What the page carried is gone, a call in its phone too."""
        agent = seat.user.agent
        if agent is not None and agent in self._states and self._states[agent].state is not AgentState.LOGGED_OUT:
            self._inbox(PageLeft(at=self._clock(), agent=agent))

    def _oust(self, number: int) -> None:
        if (old := self._sockets.get(number)) is not None:
            old.seat = None
            self._write(old, body({"type": "taken_over"}))
            self._end_socket(old, TAKEN_OVER, "taken over")

    def _end_socket(self, socket: _Socket, code: int, reason: str) -> None:
        """Begin to close; a page that does not answer is gone after the close time-out."""
        socket.is_ending = True
        task = asyncio.get_running_loop().create_task(socket.connection.close(code, reason))
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)

    # ── desks ─────────────────────────────────────────────────────────────────────────────────────────────

    def _seat_for(self, socket: _Socket) -> _Seat:
        key = _key(socket)
        seat = self._seats.get(key)
        if seat is None:
            agent = socket.user.agent
            desk = Desk(
                agent,
                epoch=secrets.token_hex(8),
                phone=self._phone_kind(agent),
                silent_after_s=self._silent_after_s,
                gone_after_s=self._gone_after_s,
            )
            seat = self._seats[key] = _Seat(desk, socket.user)
        return seat

    def _clear(self, key: str, seat: _Seat) -> None:
        self._seats.pop(key, None)
        self._watching.pop(key, None)
        if seat.timer is not None:
            seat.timer.cancel()
        if seat.socket is not None:
            seat.socket.seat = None
        if seat.desk.agent is not None and seat.desk.why != "gone":
            self._inbox(DeskStale(at=self._clock(), agent=seat.desk.agent, why="gone"))

    def _phone_kind(self, agent: AgentId | None) -> PhoneKind:
        if agent is None or self._plan is None or agent not in self._plan.agents:
            return PhoneKind.BROWSER
        return self._plan.agents[agent].phone.kind

    def _follow_plan(self, plan: Plan) -> None:
        self._plan = plan
        for seat in self._seats.values():
            agent = seat.desk.agent
            self._judge(seat, seat.desk.use_phone(self._phone_kind(agent), now=self._clock()))

    def _judge(self, seat: _Seat, fact: DeskFresh | DeskStale | None) -> None:
        if fact is not None:
            self._inbox(fact)
            self._put(seat, body(seat.desk.describe()))

    def _arm(self, seat: _Seat) -> None:
        """One timer per desk. Beats do not move it: when it fires early, it is set again."""
        if seat.timer is not None:
            seat.timer.cancel()
            seat.timer = None
        wake_at = seat.desk.wake_at()
        if wake_at is not None:
            delay_s = max(0.0, wake_at - self._clock())
            seat.timer = asyncio.get_running_loop().call_later(delay_s, self._wake, seat)

    def _wake(self, seat: _Seat) -> None:
        seat.timer = None
        self._judge(seat, seat.desk.wake(now=self._clock()))
        self._arm(seat)

    # ── messages ──────────────────────────────────────────────────────────────────────────────────────────

    def _show_change(self, change: PopChanged | PopClosed) -> None:
        seat = self._seats.get(change.agent)
        if seat is None:
            return
        if isinstance(change, PopClosed):
            self._changed.pop(PopChanged(change.interaction, change.agent), None)
            closed = {"type": "pop_closed", "interaction": change.interaction, "reason": change.reason}
            self._put(seat, body(closed))
        else:
            self._changed[change] = None
            self._flush_soon()

    def _draw(self, change: PopChanged) -> None:
        seat = self._seats.get(change.agent)
        if seat is None:
            return
        message = self._pops.message(change.interaction, change.agent, seat.user.role, seat.user.language)
        if message is not None:
            self._put(seat, body(message))

    def _state(self, agent: AgentId) -> dict[str, Any]:
        name = self._plan.agents[agent].name if self._plan is not None and agent in self._plan.agents else agent
        fact = self._states.get(agent)
        if fact is None:
            state, reason, since = AgentState.LOGGED_OUT, "", 0.0
        else:
            state, reason, since = fact.state, fact.reason, fact.at
        interaction: InteractionId | None = fact.interaction if fact is not None else None
        return {
            "type": "state",
            "agent": agent,
            "name": name,
            "state": state,
            "reason": reason,
            "since": since,
            "until": fact.until if fact is not None else None,
            "interaction": interaction,
            "next_state": fact.next_state if fact is not None else None,
        }

    def _send(self, agent: AgentId, message: dict[str, Any]) -> None:
        if (seat := self._seats.get(agent)) is not None:
            self._put(seat, body(message))

    def _put(self, seat: _Seat, encoded: bytes) -> None:
        frame = seat.desk.put(encoded, now=self._clock())
        if seat.socket is not None:
            self._write(seat.socket, frame)

    def _write(self, socket: _Socket, frame: bytes) -> None:
        if not socket.unsent:
            self._unsent.append(socket)
            self._flush_soon()
        socket.unsent.append(frame)

    def _flush_soon(self) -> None:
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        changed, self._changed = self._changed, {}
        for change in changed:
            self._draw(change)
        self._flushing = None
        sockets, self._unsent = self._unsent, []
        for socket in sockets:
            frames, socket.unsent = socket.unsent, []
            protocol = socket.connection.protocol
            if protocol.state is not State.OPEN:
                continue
            for frame in frames:
                protocol.send_text(frame)
            # ``broadcast`` would write each frame by itself.
            socket.connection.transport.write(b"".join(protocol.data_to_send()))
            if socket.connection.transport.get_write_buffer_size() > self._unread_bytes:
                log.warning("! desk of %s does not read: cut off", socket.user.user)
                socket.connection.transport.abort()

    # ── the floor, for supervisors ────────────────────────────────────────────────────────────────────────

    def _plan_floor(self) -> None:
        if self._watching and self._floor_timer is None:
            self._floor_timer = asyncio.get_running_loop().call_later(FLOOR_EVERY_S, self._send_floor)

    def _send_floor(self) -> None:
        """Send what changed since the last time, encoded once for all supervisors."""
        if self._floor_timer is not None:
            self._floor_timer.cancel()
            self._floor_timer = None
        if self._picture is None:
            return
        picture = self._picture()
        agents = _changed(self._floor_sent.agents, picture.agents)
        queues = _changed(self._floor_sent.queues, picture.queues)
        if not agents and not queues:
            return
        encoded = body(_floor(agents, queues))
        for seat in self._watching.values():
            self._put(seat, encoded)


def _floor(agents: Sequence[dict[str, Any]], queues: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "floor", "agents": agents, "queues": queues}


def _changed(sent: dict[str, dict[str, Any]], entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries that differ from what was sent, and the tombs of those that went; ``sent`` is brought up to date."""
    changed = [entry for entry in entries if sent.get(entry["id"]) != entry]
    alive = {entry["id"] for entry in entries}
    gone = [key for key in sent if key not in alive]
    sent.update((entry["id"], entry) for entry in changed)
    for key in gone:
        del sent[key]
    return [*changed, *({"id": key, "is_gone": True} for key in gone)]


def _key(socket: _Socket) -> str:
    """An agent has one desk, whoever many tabs it has; a person without a phone has one per page."""
    return socket.user.agent or f"#{socket.number}"


def _session_token(request: Request) -> str:
    """The session cookie, empty if there is none (or more than one: then it is not ours to choose)."""
    pairs = (part.strip().partition("=") for header in request.headers.get_all("Cookie") for part in header.split(";"))
    found = {value for name, _, value in pairs if name == COOKIE}
    return found.pop() if len(found) == 1 else ""


def _refuse_other_paths(connection: ServerConnection, request: Request) -> Any:
    if request.path.partition("?")[0] != PATH:
        return connection.respond(404, "there is only the desk socket here\n")
    return None
