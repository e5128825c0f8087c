// @ts-check
/** The agent's page, put together. It lives for a whole shift; everything in it changes in place. */
import { DeskActions } from "./actions.js";
import { call } from "./api.js";
import { Beside } from "./beside.js";
import { bindKeys } from "./commands.js";
import { chosenDevices, DevicesDialog } from "./devices.js";
import { byId } from "./dom.js";
import { Drafts } from "./drafts.js";
import { Health } from "./health.js";
import { Keys } from "./keys.js";
import { t } from "./messages.js";
import { Microphone } from "./microphone.js";
import { Notices } from "./notices.js";
import { Ownership } from "./ownership.js";
import { Phone } from "./phone.js";
import { Pops, UNCARDED } from "./pops.js";
import { Renewal } from "./renewal.js";
import { Ring } from "./ring.js";
import { DeskSocket } from "./socket.js";
import { StateBar } from "./state_bar.js";
import { Tabs } from "./tabs.js";
import { clockText, ServerClock } from "./time.js";
import { Timers } from "./timers.js";
import { TransferDialog } from "./transfer.js";
import { hasWord, outcomeNames, refusal, word } from "./words.js";
import { Work } from "./work.js";

const ALONE_MS = 1200;
const SOCKET_FAILURES = 2;

const notices = new Notices();
const setup = /** @type {import("./types.js").DeskSetup} */ (await firstSetup());
const clock = new ServerClock();
const timers = new Timers(clock);
const drafts = new Drafts(setup.agent.agent);
const isBrowserPhone = setup.phone.kind === "browser";
const microphone = isBrowserPhone ? new Microphone(chosenDevices().microphone) : null;
const speaker = /** @type {HTMLAudioElement} */ (byId("remote-audio"));
const phone = microphone ? new Phone(setup.phone, microphone, speaker) : null;
const ring = new Ring(chosenDevices().ring);
const ownership = new Ownership(setup.agent.agent, () => Boolean(phone?.call));
const socket = new DeskSocket(setup.socket_url, crypto.randomUUID(), clock, () => ({
  visible: !document.hidden,
  phone: phone ? (phone.state === "registered" ? "registered" : "unregistered") : "desk",
  microphone: microphone ? microphone.state : "desk",
}));
const health = new Health(socket, phone, microphone, ring);
const bar = new StateBar(timers, setup.reasons);
const transfer = new TransferDialog(setup.agent.agent);
const devicesDialog = new DevicesDialog();
const tabs = new Tabs();
const work = new Work(clock);
const keys = new Keys();
for (const { code, label } of setup.dispositions) outcomeNames.set(code, label);
const pops = new Pops(tabs, notices, {
  timers,
  drafts,
  dispositions: setup.dispositions,
  isBrowserPhone,
  act: (verb, value) => actions.do(verb, value),
  targetName: (target) => transfer.nameOf(target),
});
const actions = new DeskActions({ pops, phone, drafts, notices, transfer, work, tabs, ring });
const beside = new Beside(notices, clock, (verb, value) => actions.do(verb, value));
const renewal = new Renewal(phone, health);
bindKeys({ keys, pops, bar, actions, tabs, work, devicesDialog, beside });
/** @type {ReturnType<typeof setTimeout>|undefined} */ let alone;
/** The card whose caller the softphone talks with. */ let tiedTo = "";

/** Asks until the server answers: the page may have been opened while it starts. */
async function firstSetup() {
  for (let wait_ms = 500; ; wait_ms = Math.min(10000, wait_ms * 2)) {
    try {
      return await call("GET", "/api/desk");
    } catch (error) {
      byId("banner").hidden = false;
      byId("banner-text").textContent = t("Connecting to the server…");
      await new Promise((resolve) => setTimeout(resolve, wait_ms));
    }
  }
}

/** @param {any} message */
function receive(message) {
  if (message.type === "snapshot") {
    bar.show(message.agent);
    health.desk = message.desk;
    pops.replace(message.pops);
    if (message.beside) beside.show(message.beside);
  } else if (message.type === "state") bar.show(message);
  else if (message.type === "beside") beside.show(message);
  else if (message.type === "desk") health.desk = message;
  else if (message.type === "pop") {
    pops.show(message);
    const target = message.transfer?.target || message.conference;
    if (target) void transfer.learn(target).then((isNew) => isNew && refresh());
  } else if (message.type === "notice" && message.code === "hold_recalled") recallHold(Number(message.text));
  else if (message.type === "pop_closed") pops.close(message.interaction, message.reason);
  else if (message.type === "notice") {
    notices.show(hasWord("notice", message.code) ? word("notice", message.code) : message.text, { kind: "warning", stays: true });
  }
  refresh();
}

/** A caller on hold is not forgotten: seen on the card, said, and heard. @param {number} held_s */
function recallHold(held_s) {
  const card = pops.live;
  card?.element.setAttribute("data-held-long", "");
  const said = t("{name} has been on hold for {time}.", { name: card?.title ?? "", time: clockText(held_s) });
  notices.show(said, { kind: "warning" });
  notices.sayNow(said);
  ring.test();
}

/** Brings phone, cards, ring and banner together after any change. */
function refresh() {
  const current = phone?.call ?? null;
  const live = pops.live;
  if (live?.hasRecord && pops.cards.has(UNCARDED)) pops.close(UNCARDED, "done");
  if ((!current || beside.heard) && pops.cards.has(UNCARDED)) pops.close(UNCARDED, "done");
  if (current?.phase === "ringing" && beside.isAwaited && !live?.hasRecord) void phone?.answer();
  if (current && !live?.hasRecord && !beside.heard) announceAlone();
  else clearTimeout(alone);
  if (current && live?.hasRecord) tiedTo = live.pop.interaction;
  else if (!current) tiedTo = "";
  // The server says that the call is over, and the phone's line is gone, so its goodbye will never come.
  else if (tiedTo && socket.isUp && (phone?.state !== "registered" || phone.isLineDoubtful)) return phone?.hangUp();
  for (const card of pops.cards.values()) card.controls.tie(card === pops.live ? current : null);
  const ringing = pops.ringing;
  if (ringing || current?.phase === "ringing") {
    ring.hasSound = isBrowserPhone;
    ring.start(ringing?.title ?? current?.number ?? "", ringing?.pop.queue?.name ?? "");
  } else ring.stop();
  document.body.toggleAttribute("data-ringing", ring.isRinging);
  actions.phoneChanged();
  health.draw();
}

/** The phone rings and the server said nothing: shown plainly, after a moment in which the card may still come. */
function announceAlone() {
  const show = () => {
    const current = phone?.call;
    if (!current || pops.live?.hasRecord) return;
    const phase = current.phase === "up" ? "talking" : "ringing";
    const since = clock.now() - (Date.now() - current.sinceMs) / 1000;
    pops.show({
      interaction: UNCARDED, phase, since, until: null, direction: "inbound", queue: null, waited_s: null,
      caller: { number: current.number, name: current.name, is_withheld: !current.number }, match: "none", how: "none", party: null,
      customers: [], products: [], note: "", disposition: "", recording: "off", transfer: null, from_agent: "",
    });
    pops.cards.get(UNCARDED)?.controls.tie(current);
  };
  if (pops.cards.has(UNCARDED) || !socket.isUp) return show();
  clearTimeout(alone);
  alone = setTimeout(() => {
    show();
    refresh();
  }, ALONE_MS);
}

/** @param {{takeOver?: boolean}} [options] */
async function begin({ takeOver = false } = {}) {
  if (!(await ownership.claim({ steal: takeOver }))) return showElsewhere();
  byId("elsewhere").hidden = true;
  socket.open({ takeOver });
  if (microphone && phone) {
    void microphone.open();
    await phone.start();
  }
  drafts.resume();
}

/** This tab gives up the desk: phone away, socket away. */
function showElsewhere() {
  socket.close();
  phone?.stop();
  microphone?.close();
  ring.stop();
  ownership.release();
  pops.replace([]);
  bar.use(false);
  byId("elsewhere").hidden = false;
  ownership.askOwner();
  byId("elsewhere-take").focus();
}

socket.addEventListener("message", (event) => receive(/** @type {CustomEvent} */ (event).detail));
socket.addEventListener("link", (event) => {
  bar.use(/** @type {CustomEvent} */ (event).detail.isUp);
  refresh();
});
socket.addEventListener("answering", () => health.draw());
socket.addEventListener("refused", (event) => /** @type {CustomEvent} */ (event).detail >= SOCKET_FAILURES && void renewal.ask());
socket.addEventListener("busy", showElsewhere);
socket.addEventListener("taken_over", showElsewhere);
ownership.addEventListener("lost", showElsewhere);
ownership.addEventListener("owner", () => (byId("elsewhere-on-call").hidden = !ownership.isOtherOnCall));
byId("elsewhere-take").addEventListener("click", () => begin({ takeOver: true }));
bar.addEventListener("state", (event) => actions.do("state", /** @type {CustomEvent} */ (event).detail));
bar.addEventListener("done", () => actions.do("done"));
transfer.addEventListener("transfer", (event) => actions.do("send_transfer", /** @type {CustomEvent} */ (event).detail));
byId("open-devices").addEventListener("click", () => devicesDialog.open());
devicesDialog.addEventListener("test", () => ring.test());
devicesDialog.addEventListener("chosen", (event) => {
  const { which, deviceId } = /** @type {CustomEvent} */ (event).detail;
  if (which === "microphone") void microphone?.choose(deviceId);
  else if (which === "speaker") void phone?.chooseSpeaker(deviceId);
  else ring.choose(deviceId);
});
drafts.addEventListener("refused", (event) => {
  notices.show(t("The server did not take this: {reason}", { reason: refusal(/** @type {CustomEvent} */ (event).detail.error) }), { kind: "error", stays: true });
});
ring.addEventListener("audible", () => health.draw());
phone?.addEventListener("call", refresh);
phone?.addEventListener("quality", () => health.drawQuality());
phone?.addEventListener("path", () => health.draw());
phone?.addEventListener("registration", () => {
  socket.beat();
  health.draw();
});
microphone?.addEventListener("state", () => {
  socket.beat();
  health.draw();
});
addEventListener("beforeunload", (event) => {
  if (phone?.call || pops.live) event.preventDefault();
});
addEventListener("pagehide", () => void drafts.flush());

Object.defineProperty(window, "callfloor", {
  value: Object.freeze({
    get phone() {
      const isLineDoubtful = phone?.isLineDoubtful ?? false;
      return { state: phone?.state ?? "desk", call: phone?.call ? { ...phone.call } : null, quality: phone?.quality ?? null, isLineDoubtful };
    },
    get microphone() {
      return microphone ? { state: microphone.state, why: microphone.why, level: microphone.level() } : null;
    },
    get socket() {
      return { isUp: socket.isUp, epoch: socket.epoch, seq: socket.lastSeq, clock_offset_s: clock.offset_s };
    },
    get cards() {
      return [...pops.cards.values()].map((card) => ({ interaction: card.pop.interaction, phase: card.pop.phase, title: card.title }));
    },
    get isRinging() {
      return ring.isRinging;
    },
    get unsaved() {
      return !drafts.isEmpty;
    },
  }),
});

bar.show(setup.agent);
bar.use(false);
void phone?.chooseSpeaker(chosenDevices().speaker);
await begin();
byId("desk").removeAttribute("aria-busy");
