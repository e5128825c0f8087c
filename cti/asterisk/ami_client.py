"""The link to one PBX: panoramisk's Manager, made fit to be left alone for years.

Connection, login, actions and ``register_event`` keep panoramisk's interface. Replaced: one task owns the connection
(never two sessions, ``close`` is final), every wait has an end, a peer that does not answer pings is dead,
reconnecting backs off with jitter, a refused login is reported once, no action is ever sent again, and no handler's
error reaches the link.
"""

from __future__ import annotations

import asyncio
import logging
import ssl as ssl_module
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from panoramisk.manager import Manager

from cti.asterisk.ami_protocol import AmiProtocol, parse_message
from cti.errors import ActionFailed, ActionTimeout, LinkDown, LinkError, LoginRefused, UntrustedPeer

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping

    from panoramisk.message import Message

    Handler = Callable[["AmiClient", Message], Any]

log = logging.getLogger(__name__)

MAX_EVENT_NAMES = 1000


@dataclass(frozen=True, slots=True)
class AmiTiming:
    """How long the link waits. A silent peer is given up after at most ``ping_interval_s + action_timeout_s``."""

    connect_timeout_s: float = 5.0
    action_timeout_s: float = 5.0
    ping_interval_s: float = 5.0
    first_retry_s: float = 0.5
    last_retry_s: float = 15.0
    refused_retry_s: float = 60.0
    restart_s: float = 60.0
    """While it stops, Asterisk refuses every login: for that long a refusal of what was accepted is no wrong secret."""


def retry_delay_s(timing: AmiTiming, problem: LinkError, failures: int, jitter: random.Random) -> float:
    """How long to wait after ``problem``, with ``failures`` attempts in a row before it: doubling up to a limit, and
    of that between half and all, so that many daemons do not come back in step. What a person has to put right waits
    long at once."""
    limit_s: float = min(timing.last_retry_s, timing.first_retry_s * 2 ** min(failures, 30))
    if isinstance(problem, LoginRefused | UntrustedPeer):
        limit_s = timing.refused_retry_s
    return limit_s * jitter.uniform(0.5, 1.0)


class AmiClient(Manager):  # type: ignore[misc]  # panoramisk has no types
    """One PBX's manager interface, connected as long as possible from ``connect`` until ``close``.

    ``on_events`` gets the raw event messages of one read, in order, except the items of lists that were asked for.
    ``on_login`` is called after each login, ``on_disconnect`` when a login is lost or an attempt failed for another
    reason than the one before; both with the client, the latter also with the ``LinkError``. All are plain functions.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        username: str,
        secret: str,
        jitter: random.Random,
        ssl: ssl_module.SSLContext | bool = False,
        timing: AmiTiming | None = None,
        max_message_bytes: int = 8 << 20,
        max_list_bytes: int = 64 << 20,
        on_events: Callable[[list[bytes]], None] | None = None,
        on_login: Callable[[AmiClient], None] | None = None,
        on_disconnect: Callable[[AmiClient, LinkError], None] | None = None,
    ) -> None:
        self.loop: Any  # panoramisk's: None until ``connect``
        self._handlers: dict[bytes, tuple[Handler, ...]] = {}
        super().__init__(host=host, port=port, username=username, secret=secret, ssl=ssl, log=log)
        self.patterns.clear()  # panoramisk's own handler sends unanswered actions again
        self.callbacks.clear()
        self.timing = timing or AmiTiming()
        self.protocol: AmiProtocol | None = None
        self._jitter = jitter
        self._max_message_bytes = max_message_bytes
        self._max_list_bytes = max_list_bytes
        self._on_events = on_events
        self._on_login = on_login
        self._on_disconnect = on_disconnect
        self._handler_tasks: set[asyncio.Future[Any]] = set()
        self._task: asyncio.Task[None] | None = None
        self._first_login: asyncio.Future[None] | None = None
        self._last_problem = ""
        self._accepted_until: float | None = None
        self.is_closed = False
        self.authenticated: bool

    def __repr__(self) -> str:
        return f"<AmiClient {self.config['host']}:{self.config['port']}>"

    # ── life ──────────────────────────────────────────────────────────────────────────────────────────────

    def connect(
        self, run_forever: bool = False, on_startup: Any = None, on_shutdown: Any = None
    ) -> asyncio.Future[None]:
        """Begin to connect, once; the future is done after the first login. Raises ``LinkDown`` after ``close``."""
        if self.is_closed:
            raise LinkDown("closed")
        if self.loop is None:
            self.loop = asyncio.get_event_loop()
        if self._task is None or self._first_login is None:
            self._first_login = self.loop.create_future()
            self._task = self.loop.create_task(self._stay_connected(), name="ami")
        if run_forever:
            self.run_forever(on_startup, on_shutdown)
        return self._first_login

    def close(self) -> None:
        """End the link for good; pending actions fail with ``LinkDown``."""
        self.is_closed = True
        if self._task is not None:
            self._task.cancel()
        if self.protocol is not None:
            self.protocol.close()
        if self._first_login is not None and not self._first_login.done():
            self._first_login.cancel()

    async def wait_closed(self) -> None:
        """Wait until nothing of the link runs any more."""
        if self._task is not None:
            await asyncio.wait([self._task])
        if self._handler_tasks:
            await asyncio.wait(self._handler_tasks)

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            started_at = self.loop.time()
            try:
                await self._one_session()
            except LinkError as problem:
                if self.authenticated:
                    self._accepted_until = self.loop.time()
                    if self._accepted_until - started_at > self.timing.last_retry_s:
                        failures = 0
                self.authenticated = False
                delay_s = retry_delay_s(self.timing, problem, failures, self._jitter)
                self._report(problem, delay_s)
                failures += 1
                await asyncio.sleep(delay_s)

    def _report(self, problem: LinkError, delay_s: float) -> None:
        kind = type(problem).__name__
        if kind == self._last_problem:
            log.debug("= %r still %s, next attempt in %.1f s", self, kind, delay_s)
            return
        self._last_problem = kind
        log.warning("! %r %s: %s; next attempt in %.1f s", self, kind, problem, delay_s)
        if self._on_disconnect is not None:
            self._guarded(self._on_disconnect, self, problem)

    async def _one_session(self) -> None:
        """Connect, log in, stay until the link is lost. Always ends with a ``LinkError``."""
        timing = self.timing
        protocol = AmiProtocol(
            self,
            action_timeout_s=timing.action_timeout_s,
            max_message_bytes=self._max_message_bytes,
            max_list_bytes=self._max_list_bytes,
        )
        self.protocol = protocol
        try:
            await self._log_in(protocol)
            await self._watch(protocol)
        except LoginRefused:
            raise  # Asterisk closes the connection at once, which explains nothing
        except LinkError as problem:
            # The connection's own end says more than what it did to the action that was under way.
            raise protocol.lost.result() if protocol.lost.done() else problem from problem
        finally:
            protocol.close()

    async def _log_in(self, protocol: AmiProtocol) -> None:
        timing = self.timing
        try:
            async with asyncio.timeout(timing.connect_timeout_s):
                await self.loop.create_connection(
                    lambda: protocol, self.config["host"], self.config["port"], ssl=self.config["ssl"] or None
                )
                either: list[asyncio.Future[Any]] = [protocol.greeted, protocol.lost]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as problem:
            raise LinkDown("no greeting in time") from problem
        except ssl_module.SSLCertVerificationError as problem:
            raise UntrustedPeer(f"its certificate is not trusted: {problem.verify_message}") from problem
        except OSError as problem:
            raise LinkDown(f"cannot connect: {problem}") from problem
        answer = await protocol.send(
            {
                "Action": "Login",
                "Username": self.config["username"],
                "Secret": self.config["secret"],
                "Events": self.config["events"],
            }
        )
        if not answer.success:
            accepted_until = self._accepted_until
            if accepted_until is not None and self.loop.time() - accepted_until < timing.restart_s:
                raise LinkDown("the PBX refuses a login that it accepted before: it may be stopping or starting")
            raise LoginRefused(f"user {self.config['username']!r} or its secret was refused")
        self.authenticated = True
        self._last_problem = ""
        log.info("= %r logged in", self)
        if self._first_login is not None and not self._first_login.done():
            self._first_login.set_result(None)
        if self._on_login is not None:
            self._guarded(self._on_login, self)

    async def _watch(self, protocol: AmiProtocol) -> None:
        while True:
            await asyncio.wait([protocol.lost], timeout=self.timing.ping_interval_s)
            if protocol.lost.done():
                raise protocol.lost.result()
            try:
                await protocol.send({"Action": "Ping"})
            except ActionTimeout as silence:
                protocol.fail(silence)
                raise

    # ── actions ───────────────────────────────────────────────────────────────────────────────────────────

    def send_action(self, action: Mapping[str, Any], as_list: bool | None = None, **kwargs: Any) -> asyncio.Future[Any]:
        """Send an action; see ``AmiProtocol.send``. Not connected: the future fails with ``LinkDown``, nothing is
        kept for later."""
        if kwargs:
            action.update(kwargs)  # type: ignore[attr-defined]  # panoramisk's interface changes what it is given
        if self.protocol is None:
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.set_exception(LinkDown("not connected"))
            future.exception()
            return future
        return self.protocol.send(action, as_list=as_list)

    def order(self, name: str, headers: Iterable[tuple[str, str]], settled: Callable[[LinkError | None], None]) -> None:
        """Send an action of which only matters whether it is done; see ``AmiProtocol.order``."""
        if self.protocol is None:
            self.settled(settled, LinkDown("not connected"))
        else:
            self.protocol.order(name, headers, settled)

    def settled(self, settled: Callable[[LinkError | None], None], problem: LinkError | None) -> None:
        """Called when an action that was ordered is done, or known not to be."""
        self._guarded(settled, problem)

    async def send_awaiting_actions(self, *_: Any) -> None:
        """Panoramisk sends unanswered actions again here. Nothing is ever sent again."""

    async def act(self, name: str, **headers: str | list[str]) -> Message:
        """Carry out an action and return its answer. Raises ``ActionFailed``, ``ActionTimeout``, ``LinkDown``,
        ``BadInput``."""
        answer = await self.send_action({"Action": name, **headers}, as_list=False)
        if not answer.success:
            raise ActionFailed(str(answer.message) or name)
        return answer

    async def read_list(self, name: str, **headers: str) -> list[Message]:
        """The items of a list action. Raises as ``act``; a list that was cut raises ``ActionTimeout`` or
        ``LinkDown``."""
        answer = await self.send_action({"Action": name, **headers}, as_list=True)
        if not isinstance(answer, list):
            raise ActionFailed(str(answer.message) or name)
        return answer[1:-1]

    # ── events ────────────────────────────────────────────────────────────────────────────────────────────

    def events_received(self, events: list[bytes]) -> None:
        """Called by the protocol with the raw events of one read, in order."""
        if self._on_events is not None:
            self._guarded(self._on_events, events)
        if self.patterns:
            for raw in events:
                self._dispatch_raw(raw)

    def list_item_received(self, raw: bytes) -> None:
        """Called by the protocol with an item of a list that was asked for: only registered handlers see it here."""
        if self.patterns:
            self._dispatch_raw(raw)

    def register_event(self, pattern: str, callback: Handler | None = None) -> Any:
        """As panoramisk's: call ``callback(client, message)`` for each event whose name matches ``pattern``."""
        self._handlers.clear()
        registered = super().register_event(pattern, callback)
        if callback is not None:
            return registered

        def register(function: Handler) -> Handler:
            self._handlers.clear()
            registered(function)
            return function

        return register

    def _dispatch_raw(self, raw: bytes) -> None:
        name = raw[7 : raw.find(b"\r\n")] if b"\r\n" in raw else raw[7:]
        handlers = self._handlers.get(name)
        if handlers is None:
            text = name.decode("utf-8", "replace")
            handlers = tuple(
                handler
                for pattern, regexp in self.patterns
                if regexp.match(text)
                for handler in self.callbacks[pattern]
            )
            if len(self._handlers) < MAX_EVENT_NAMES:
                self._handlers[name] = handlers
        if handlers:
            message = parse_message(raw)
            message.manager = self
            for handler in handlers:
                self._guarded(handler, self, message)

    def _guarded(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function that is not the link's: whatever it raises is its own fault and stays out of the link."""
        try:
            result = function(*arguments)
        except Exception:
            log.exception("! %r a handler failed", self)
            return
        if asyncio.iscoroutine(result) or isinstance(result, asyncio.Future):
            task = asyncio.ensure_future(result)
            self._handler_tasks.add(task)
            task.add_done_callback(self._handler_tasks.discard)
