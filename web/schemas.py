"""The shapes of what the API takes and gives. Times are Unix seconds; a field that the asking role may not read is
absent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")]
Line = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Search = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00]*$")]
LONGEST_NOTE = 20_000
LONGEST_PASSWORD = 256


class Given(BaseModel):
    """Root of what scripts send: exact types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Typed(BaseModel):
    """Root of what comes in a form or a query: all values are text."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """Root of what is sent back."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────


class FieldProblem(Answer):
    """Which field is wrong, and how (a stable code)."""

    field: str
    problem: str


class ErrorAnswer(Answer):
    """What went wrong: a stable code, a sentence in the person's language, the fields concerned."""

    code: str
    message: str
    fields: list[FieldProblem] = []
    request: str = ""


class Accepted(Answer):
    """The request was passed on; its effect is seen on the desk socket. ``now``: the server's clock."""

    now: float


class PbxDisk(Answer):
    """How full the disk of a PBX is, as its agent told at ``at`` (Unix seconds). ``backlog_mb``: not uploaded yet."""

    pbx: str
    at: float
    free_mb: int
    is_low: bool
    backlog_mb: int


class Health(Answer):
    """Is the server of use? ``degraded``: the database or a PBX is away."""

    status: Literal["ok", "degraded"]
    database: Literal["up", "down"]
    pbx_up: int
    pbx_total: int
    pbx_disks: list[PbxDisk] = []


class UploadOffset(Answer):
    """How much of a file is here, in bytes; the next part belongs there."""

    offset: int
    is_complete: bool


# ── forms and queries ─────────────────────────────────────────────────────────────────────────────────────


class LoginForm(Typed):
    """The log-in. ``next``: where to go on."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[^\x00]*$")]
    password: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_PASSWORD)] = Field(repr=False)
    next: Annotated[str, StringConstraints(max_length=500)] = ""
    csrf: str = ""


class LoginQuery(Typed):
    """Where to go on after the log-in."""

    next: Annotated[str, StringConstraints(max_length=500)] = ""


class LogoutForm(Typed):
    """The log-out."""

    csrf: str = ""


class LanguageForm(Typed):
    """The choice of a language. ``next``: the page to go back to."""

    tag: Literal["en", "zh-Hans", "zh-Hant"]
    next: Annotated[str, StringConstraints(max_length=500)] = ""
    csrf: str = ""


class SearchQuery(Typed):
    """A search for customers."""

    q: Search = ""
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class CustomerQuery(Typed):
    """From where on the timeline is shown: ``before`` (Unix seconds)."""

    before: Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)] | None = None


class RecordingQuery(Typed):
    """Which of a contact's recordings, counted from 0."""

    part: Annotated[int, Field(ge=0, le=99)] = 0


class AuditQuery(Typed):
    """A part of the audit: at most ``limit`` records older than ``before`` (an id), of one ``user`` or object."""

    user: Annotated[str, StringConstraints(max_length=40)] = ""
    object: Annotated[str, StringConstraints(max_length=40)] = ""
    object_id: Annotated[str, StringConstraints(max_length=100)] = ""
    before: Annotated[int, Field(ge=1, le=2**53)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class UploadQuery(Typed):
    """Where in the file the part belongs, in bytes."""

    offset: Annotated[int, Field(ge=0, le=2**50)]


class TimelineQuery(Typed):
    """A part of a timeline: at most ``limit`` contacts that began before ``before`` (Unix seconds)."""

    before: Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


# ── the agent of a PBX ────────────────────────────────────────────────────────────────────────────────────


class FinishedUpload(Given):
    """A recording of which all parts were sent: its length in bytes and its SHA-256, in lower-case hex."""

    size: Annotated[int, Field(ge=0, le=2**50)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class DiskReport(Given):
    """How full the disk of a PBX is. ``backlog_mb``: what waits to be uploaded."""

    free_mb: Annotated[int, Field(ge=0, le=2**40)]
    is_low: bool
    backlog_mb: Annotated[int, Field(ge=0, le=2**40)]


# ── the desk ──────────────────────────────────────────────────────────────────────────────────────────────


class StateBody(Given):
    """The state that an agent asks for. ``reason``: code of a reason, for NOT_READY."""

    state: Literal["AVAILABLE", "NOT_READY"]
    reason: Annotated[str, StringConstraints(max_length=40, pattern=r"^[A-Za-z0-9._-]*$")] = ""


class NoteBody(Given):
    """The whole note as it stands now."""

    text: Annotated[str, StringConstraints(max_length=LONGEST_NOTE, pattern=r"^[^\x00]*$")]


class DispositionBody(Given):
    """What came of the contact: code of a disposition."""

    code: Annotated[str, StringConstraints(max_length=40, pattern=r"^[A-Za-z0-9._-]*$")]


class CustomerBody(Given):
    """The customer of the contact; null: none of these."""

    party: Annotated[int, Field(ge=1, le=10**15)] | None


class RecordingBody(Given):
    """Pause (card data) or go on."""

    is_paused: bool


Policy = Literal["off", "announced", "consent"]
Citation = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]


class QueueRecordingBody(Given):
    """How a queue is recorded. ``keeps_objected``: what was recorded until the caller objected."""

    recording: Policy
    keeps_objected: bool = False


class RecordingRuleBody(Given):
    """What the law asks for. ``citation``: which law says so."""

    policy: Policy
    citation: Citation = ""


class QueueRecordingForm(Typed):
    """One queue's line of the page."""

    queue: Slug
    recording: Policy
    keeps_objected: Literal["yes", ""] = ""
    csrf: str = ""


class RecordingRuleForm(Typed):
    """A rule, as the page's form sends it. ``is_unknown``: for callers without a number, whatever ``digits`` say."""

    digits: Annotated[str, StringConstraints(max_length=20)] = ""
    is_unknown: Literal["yes", ""] = ""
    policy: Policy
    citation: Citation = ""
    csrf: str = ""


class RecordingRuleRemovalForm(Typed):
    """A rule to take away."""

    digits: Annotated[str, StringConstraints(pattern=r"^([0-9]{1,10}|unknown)$")]
    csrf: str = ""


class SettingForm(BaseModel):
    """A setting as a page's form sends it: its fields by their names (``steps.1.text``). ``seen``: the newest change of
    it when the form was made; ``is_new``: there must be none of this name yet."""

    model_config = ConfigDict(extra="allow", frozen=True)

    is_new: Literal["yes", ""] = ""
    seen: Annotated[int, Field(ge=0, le=2**53)] = 0
    csrf: str = ""


class SettingRemovalForm(Typed):
    """A setting to take away."""

    key: Annotated[str, StringConstraints(pattern=r"^\+?[a-z0-9][a-z0-9._-]{0,39}$")]
    csrf: str = ""


class SkillForm(Typed):
    """One field of the table of skills. ``level``: 1 to 10, empty: the skill is not held."""

    agent: Slug
    skill: Slug
    level: Annotated[str, StringConstraints(pattern=r"^([1-9]|10)?$")] = ""
    csrf: str = ""


class UndoForm(Typed):
    """A change to take back."""

    change: Annotated[int, Field(ge=1, le=2**53)]
    csrf: str = ""


class SettingsQuery(Typed):
    """What of a page of settings is shown. ``q``: names that contain this; ``page``: from 1; ``saved``: something was
    just stored; ``add``: a new skill's column."""

    q: Search = ""
    page: Annotated[int, Field(ge=1, le=100_000)] = 1
    saved: Literal["yes", ""] = ""
    add: Annotated[str, StringConstraints(max_length=40)] = ""


class TryQuery(Typed):
    """An expression to try. ``queue``: among whose agents, empty: among all; ``given``: what is known of the call,
    ``tier=gold language=zh``; ``field``: whose field it is."""

    text: Annotated[str, StringConstraints(max_length=2_000)] = ""
    queue: Annotated[str, StringConstraints(max_length=40)] = ""
    given: Annotated[str, StringConstraints(max_length=500)] = ""
    field: Annotated[str, StringConstraints(max_length=40, pattern=r"^[a-z0-9_.-]*$")] = ""


class HistoryQuery(Typed):
    """A part of the history: at most ``limit`` changes older than ``before`` (an id), of one kind or setting."""

    kind: Annotated[str, StringConstraints(max_length=20, pattern=r"^[a-z]*$")] = ""
    key: Annotated[str, StringConstraints(max_length=41, pattern=r"^\+?[a-z0-9._-]*$")] = ""
    before: Annotated[int, Field(ge=1, le=2**53)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 30


class SettingBody(Given):
    """A setting whole, with the fields of ``callfloor config export``."""

    setting: dict[str, Any]


class TransferBody(Given):
    """Where to send the caller: ``agent:<id>``, ``queue:<id>``, ``skill:<expression>`` or ``number:<digits>``.
    Attended: talk first."""

    target: Annotated[
        str,
        StringConstraints(
            pattern=r"^((agent|queue):[a-z0-9][a-z0-9._-]{0,39}|number:\+?[0-9]{2,20}|skill:[^\x00-\x1f\x7f]{1,200})$"
        ),
    ]
    is_attended: bool


AgentSlug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")]


class SpyBody(Given):
    """Whose talk to hear, and how: hear both, speak to the agent alone, speak to both."""

    agent: AgentSlug
    mode: Literal["listen", "whisper", "barge"]


class TakeOverBody(Given):
    """Whose caller to have."""

    agent: AgentSlug


class PickBody(Given):
    """Whom to give a waiting caller to."""

    agent: AgentSlug


class ForcedStateBody(Given):
    """The state that a supervisor sets. ``reason``: code of a reason, for NOT_READY."""

    state: Literal["AVAILABLE", "NOT_READY", "LOGGED_OUT"]
    reason: Annotated[str, StringConstraints(max_length=40, pattern=r"^[A-Za-z0-9._-]*$")] = ""


class MessageBody(Given):
    """A message to desks: to one ``agent``, to everybody of a ``team`` who is logged in, or, with neither, to everybody
    who is."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
    agent: AgentSlug | None = None
    team: Annotated[str, StringConstraints(max_length=80)] | None = None


class IceServerAnswer(Answer):
    """As the browser's ``RTCIceServer``."""

    urls: list[str]
    username: str = ""
    credential: str = ""


class Phone(Answer):
    """The agent's phone. A browser phone comes with what it registers with; a desk phone with empty fields."""

    kind: Literal["browser", "desk"]
    ws_url: str
    uri: str
    username: str
    password: str
    display_name: str
    ice_servers: list[IceServerAnswer]


class PhoneWay(Answer):
    """How a browser phone reaches the telephone system from now on; the gate's pass comes as a cookie."""

    now: float
    ice_servers: list[IceServerAnswer]


class AgentState(Answer):
    """An agent's state, as on the desk socket."""

    agent: str
    name: str
    state: str
    reason: str
    since: float
    until: float | None
    interaction: str | None
    next_state: str | None


class ReasonChoice(Answer):
    """A reason for not being ready."""

    code: str
    label: str


class DispositionChoice(Answer):
    """What may come of a contact. ``key``: the key that chooses it; ``queue``: null for every queue."""

    code: str
    label: str
    key: str
    queue: str | None


class QueueChoice(Answer):
    """A queue."""

    id: str
    name: str


class Desk(Answer):
    """All that the agent's page needs to begin."""

    agent: AgentState
    phone: Phone
    reasons: list[ReasonChoice]
    dispositions: list[DispositionChoice]
    queues: list[QueueChoice]
    language: str
    socket_url: str
    csrf: str


class AgentTarget(Answer):
    """An agent that a caller may be sent to."""

    id: str
    name: str
    state: str
    reason: str
    since: float
    queues: list[str]
    is_reachable: bool


class QueueTarget(Answer):
    """A queue that a caller may be sent to."""

    id: str
    name: str
    waiting: int
    agents_available: int


class SkillTarget(Answer):
    """A skill that a caller may be sent to, and how many hold it and are available."""

    id: str
    agents_available: int


class Targets(Answer):
    """Where a caller may be sent. ``may_leave``: to some numbers outside, too."""

    agents: list[AgentTarget]
    queues: list[QueueTarget]
    skills: list[SkillTarget]
    may_leave: bool


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────────


class QueueRecording(Answer):
    """How a queue is recorded."""

    id: str
    name: str
    recording: str
    keeps_objected: bool


class RecordingRule(Answer):
    """A rule for callers whose numbers begin with ``digits`` (``unknown``: who have none)."""

    digits: str
    policy: str
    citation: str


class RecordingSettings(Answer):
    """Policies and rules; the stricter one counts."""

    queues: list[QueueRecording]
    rules: list[RecordingRule]


class SettingsAnswer(Answer):
    """All settings of a kind, in the order of their keys, with the fields of ``callfloor config export``."""

    settings: list[dict[str, Any]]


class ChangedField(Answer):
    """One field before and after a change; null: there was or is no such field."""

    field: str
    before: Any
    after: Any


class SettingChange(Answer):
    """A change of what is configured. ``undoes``: the change it took back; ``undone_by``: the one that took it back."""

    id: int
    at: float
    username: str
    role: str
    action: str
    kind: str
    key: str
    fields: list[ChangedField]
    undoes: int | None
    undone_by: int | None


class HistoryAnswer(Answer):
    """What was configured, newest first. ``before``: ask with it for the ones before; null when these are all."""

    changes: list[SettingChange]
    before: int | None


# ── the floor ─────────────────────────────────────────────────────────────────────────────────────────────


class FloorAgent(AgentState):
    """An agent on the floor. ``set_by``: who set the state; ``occupancy``: of today, 0–1."""

    team: str
    set_by: str
    calls_taken: int
    occupancy: float | None

    is_desk_fresh: bool
    desk_why: str
    is_phone_reachable: bool
    queues: list[str]


class FloorQueue(Answer):
    """A queue on the floor."""

    id: str
    name: str
    waiting: int
    longest_wait_since: float | None
    talking: int
    agents_available: int
    agents_logged_in: int


class FloorListener(Answer):
    """Who hears the talk of ``agent``, how and since when."""

    listener: str
    agent: str
    mode: str
    since: float


class FloorCallback(Answer):
    """A place in a queue that is kept for a caller."""

    id: str
    interaction: str
    queue: str
    number: str | None = None
    queued_at: float
    expires_at: float
    is_dialled: bool


class FloorCall(Answer):
    """A live contact on the floor. ``position`` and what follows: of one who waits; ``expected_s``: how long
    it will likely take from now on, ``at_most_s``: what four of five do not wait longer than; ``required``: the
    expression that counts now, from ``next_at`` on ``required_next``."""

    position: int | None = None
    expected_s: float | None = None
    at_most_s: float | None = None
    required: str | None = None
    next_at: float | None = None
    required_next: str | None = None
    listeners: list[FloorListener] = []

    id: str
    direction: str
    phase: str
    queue: str | None
    agent: str | None
    number: str | None = None
    name: str | None = None
    is_withheld: bool
    dnis: str
    started_at: float
    queued_at: float | None
    phase_since: float
    party: int | None
    recording: str
    recording_basis: str


class FloorAnswer(Answer):
    """The live picture. ``pbx``: PBX → ``up`` or why not."""

    now: float
    agents: list[FloorAgent]
    queues: list[FloorQueue]
    calls: list[FloorCall]
    callbacks: list[FloorCallback]
    counted_since: float | None
    pbx: dict[str, str]


class PassedAnswer(Answer):
    """Why a candidate was not taken: agent (empty: several), stable code, detail, and the sentence."""

    agent: str
    reason: str
    detail: str
    sentence: str


class ReasonAnswer(Answer):
    """One decision: in words, and in full. ``others``: rung at the same time; ``required``: the expression that was
    asked for, empty: nothing, or not known any more."""

    at: float
    queue: str
    agent: str | None
    rule: str
    sentence: str
    others: list[str] = []
    required: str = ""
    passed: list[PassedAnswer]


class HappeningAnswer(Answer):
    """What a contact met on its way, in words and as a stable code."""

    at: float
    what: str
    sentence: str


class Reasons(Answer):
    """Why a caller waits, or went where it went; the newest decision first. ``sentence``: the newest in one sentence,
    with the others counted; ``story``: what a live contact met, oldest first."""

    interaction: str
    sentence: str
    decisions: list[ReasonAnswer]
    story: list[HappeningAnswer] = []


# ── customers and contacts ────────────────────────────────────────────────────────────────────────────────


class Record(BaseModel):
    """Root of what is read through a role's field rules: every field may be absent, and none that is not named here
    ever leaves the server."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class CustomerBrief(Record):
    """A customer in a list."""

    id: int
    kind: str | None = None
    name: str | None = None
    company: str | None = None
    tier: str | None = None
    status: str | None = None
    language: str | None = None
    flags: list[str] | None = None
    owner: str | None = None
    account_number: str | None = None
    numbers: list[str] | None = None
    email: str | None = None
    since: str | None = None


class Customers(Answer):
    """What a search found, best first. ``is_more``: there are more than were asked for."""

    customers: list[CustomerBrief]
    is_more: bool


class PhoneNumber(Record):
    """A customer's number."""

    id: int | None = None
    e164: str | None = None
    label: str | None = None
    extension: str | None = None
    line_type: str | None = None
    state: str | None = None
    is_primary: bool | None = None


class EmailAddress(Record):
    """A customer's e-mail address."""

    id: int | None = None
    address: str | None = None
    label: str | None = None
    is_primary: bool | None = None


class PostalAddress(Record):
    """A customer's address."""

    id: int | None = None
    label: str | None = None
    street: str | None = None
    city: str | None = None
    region: str | None = None
    postcode: str | None = None
    country: str | None = None
    is_primary: bool | None = None


class LinkedParty(Record):
    """Somebody who belongs to a customer, or whom a customer belongs to."""

    id: int
    name: str | None = None
    role: str | None = None
    is_primary: bool | None = None


class OwnedProduct(Record):
    """A product that a customer owns or asks about."""

    code: str | None = None
    name: str | None = None
    relation: str | None = None
    summary: str | None = None


class Customer(Record):
    """All that is known about a customer."""

    id: int
    kind: str | None = None
    name: str | None = None
    account_number: str | None = None
    type: str | None = None
    status: str | None = None
    tier: str | None = None
    language: str | None = None
    owner: str | None = None
    owner_name: str | None = None
    birthday_month: int | None = None
    birthday_day: int | None = None
    birthday_year: int | None = None
    custom: dict[str, Any] | None = None
    version: int | None = None
    created_at: float | None = None
    updated_at: float | None = None
    flags: list[str] | None = None
    numbers: list[PhoneNumber] = []
    emails: list[EmailAddress] = []
    addresses: list[PostalAddress] = []
    organisations: list[LinkedParty] = []
    people: list[LinkedParty] = []
    products: list[OwnedProduct] = []


class Contact(Record):
    """A contact on a timeline."""

    id: str
    party: int | None = None
    at: float
    channel: str | None = None
    direction: str | None = None
    queue: str | None = None
    agent: str | None = None
    outcome: str | None = None
    disposition: str | None = None
    note: str | None = None
    wait_s: float | None = None
    talk_s: float | None = None
    has_recording: bool | None = None


class Timeline(Answer):
    """Contacts, newest first. ``before``: ask with it for the ones before; null when these are all."""

    contacts: list[Contact]
    before: float | None


class AuditRecord(Record):
    """One record of the audit. ``detail``: field → value or [before, after], as far as the reader may see it."""

    id: int
    at: float
    username: str
    role: str
    action: str
    object: str
    object_id: str
    detail: dict[str, Any]
    ip: str
    session: str


class Audit(Answer):
    """Records of the audit, newest first. ``before``: ask with it for the ones before; null when these are all."""

    records: list[AuditRecord]
    before: int | None


class Leg(Record):
    """One leg of a contact."""

    id: str
    role: str | None = None
    agent: str | None = None
    endpoint: str | None = None
    number: str | None = None
    started_at: float | None = None
    ringing_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    outcome: str | None = None
    cause: str | None = None


class Offer(Record):
    """A stay in a queue. ``outcome``: how it ended; ``went_to``: where the caller went from here, empty: nowhere."""

    queue: str | None = None
    began_at: float
    ended_at: float | None = None
    outcome: str | None = None
    went_to: str = ""


class Recording(Record):
    """A recording of a contact. Its file's name never leaves the server."""

    started_at: float | None = None
    ended_at: float | None = None
    state: str | None = None
    audio_s: float | None = None
    silent_s: float | None = None
    basis: str | None = None
    objected_at: float | None = None
    sha256: str | None = None
    bytes: int | None = None
    paused: list[list[float | None]] | None = None


class Interaction(Record):
    """A contact. ``phase``: where it stands, while it lives."""

    id: str
    phase: str | None = None
    party_id: int | None = None
    party_name: str | None = None
    direction: str | None = None
    channel: str | None = None
    queue: str | None = None
    queue_name: str | None = None
    agent: str | None = None
    agent_name: str | None = None
    from_agent: str | None = None
    dnis: str | None = None
    ani_e164: str | None = None
    ani_name: str | None = None
    is_withheld: bool | None = None
    account: str | None = None
    choice: str | None = None
    language: str | None = None
    started_at: float | None = None
    queued_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    wait_s: float | None = None
    talk_s: float | None = None
    hold_s: float | None = None
    wrap_up_s: float | None = None
    outcome: str | None = None
    disposition: str | None = None
    note: str | None = None
    match_how: str | None = None
    recording_basis: str | None = None
    legs: list[Leg] = []
    decisions: list[ReasonAnswer] = []
    offers: list[Offer] = []
    recordings: list[Recording] = []
