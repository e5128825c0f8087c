"""Records of a real Asterisk 22.10 and 16.28: five callers reach the fall-back while there is no daemon.

Ada talks with ann; somebody withheld gives up in the hold loop; Li gives up while bob's phone rings; Otto waits until
the fall-back's time is up, bob's phone rings all the while; the last one talks with ann for 26 s.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cti import events as e
from cti.asterisk.cel import CelTranslator, rang_out_of
from cti.completion import Completion
from cti.events import Event
from cti.ids import AgentId, PbxId, QueueId
from cti.pbx_records import PbxRecords, RecordSource
from cti.routing.plan import AgentPlan, DnisRoute, Phone, PhoneKind, Plan, QueuePlan

PBX = PbxId("pbx1")
FOLDER = Path(__file__).parent / "records"
VERSIONS = (22, 16)
SALES, SUPPORT = QueueId("sales"), QueueId("support")


def _agent(name: str, queue: QueueId) -> AgentPlan:
    return AgentPlan(AgentId(name), name, Phone(PBX, name, PhoneKind.DESK), queues=(queue,))


PLAN = Plan(
    {queue: QueuePlan(queue, queue) for queue in (SALES, SUPPORT)},
    {AgentId("ann"): _agent("ann", SALES), AgentId("bob"): _agent("bob", SUPPORT)},
    (DnisRoute("4001", SALES), DnisRoute("4002", SUPPORT)),
    None,
)


def cel(version: int) -> list[bytes]:
    """The lines of the records."""
    return (FOLDER / str(version) / "cel-custom" / "callfloor.csv").read_bytes().splitlines(keepends=True)


def queue_log(version: int) -> list[bytes]:
    """The lines of the queues' own book."""
    return (FOLDER / str(version) / "queue_log").read_bytes().splitlines(keepends=True)


def told(lines: list[bytes], notes: list[bytes]) -> list[e.CallRecorded]:
    """All calls that end in these lines, in the order of their ends."""
    translator, completion = CelTranslator(PBX), Completion(PBX, lambda: PLAN)
    for note in notes:
        if (rang_out := rang_out_of(PBX, note)) is not None:
            completion.rang_out(rang_out.caller, rang_out.endpoint, rang_out.at)
    return [call for line in lines for fact in translator.facts(line) for call in completion.take(fact)]


class Bench:
    """A follower of records in ``folder``, told facts by hand; what it posts is journaled at once."""

    def __init__(self, folder: Path, *, is_shared: bool = True, find: Callable[[str], tuple[int, ...]] = lambda _: ()):
        self.folder = folder
        self.now = 1_795_329_600.0
        self.posted: list[e.CallRecorded] = []
        self._find = find
        folder.mkdir(parents=True, exist_ok=True)
        self.records = PbxRecords(
            RecordSource(PBX, folder, folder, is_shared=is_shared),
            state=folder / "state.json",
            plan=lambda: PLAN,
            post=self._post,
            look_up=self._look_up,
            oldest_live=lambda: None,
            clock=lambda: self.now,
        )

    def _post(self, fact: Event) -> None:
        assert isinstance(fact, e.CallRecorded)
        self.posted.append(fact)
        self.records.listen(fact)

    async def _look_up(self, account: str, ani: str) -> tuple[tuple[int, ...], str]:
        found = self._find(ani)
        return found, "number" if found else "none"

    def write(self, *lines: bytes, name: str = "callfloor.csv") -> None:
        """More lines, as Asterisk appends them."""
        with (self.folder / name).open("ab") as file:
            file.writelines(lines)

    def read(self, at: float, *legs: e.LegSeen) -> None:
        """The PBX was read: the gap ends."""
        self.records.listen(e.PbxRead(at=at, pbx=PBX, legs=legs, devices=()))

    async def follow(self) -> list[str]:
        """Read to the end of what is there; the numbers called from that were told since."""
        before = len(self.posted)
        while await self.records.step():
            pass
        return [call.ani for call in self.posted[before:]]

    async def __aenter__(self) -> Bench:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.records.close()
