// @ts-check
/** The buttons of one call: answer, hang up, mute, hold, keypad, transfer, recording. Built once, so that focus stays. */
import { button, h, renderWhenChanged, setText } from "./dom.js";
import { t } from "./messages.js";
import { hasWord, word } from "./words.js";

const DIGITS = [..."123456789*0#"];

/** @param {HTMLElement} element @param {string} text */
function relabel(element, text) {
  setText(/** @type {Element} */ (element.querySelector(".label")), text);
}

export class CallControls {
  /** @type {import("./phone.js").PhoneCall|null} */ #call = null;
  /** @type {import("./types.js").Pop|null} */ #pop = null;
  #isObjecting = false;

  /** @param {import("./card.js").CardContext} context */
  constructor(context) {
    const { act, isBrowserPhone } = context;
    this.context = context;
    this.isBrowserPhone = isBrowserPhone;
    this.phase = h("span", { class: "call-phase" });
    this.clock = h("span", { class: "call-clock" });
    this.recording = h("span", { class: "chip recording" });
    this.ringing = h("div", { class: "ring-time" });
    this.hint = h("p", { class: "call-hint" });
    this.answer = button(t("Answer"), { key: "F2", class: "answer", on: () => act("answer") });
    this.hangUp = button(t("Hang up"), { key: "Shift+F2", class: "hang-up", on: () => act("hang_up") });
    this.mute = button(t("Mute"), { key: "F8", "aria-pressed": "false", on: () => act("mute") });
    this.hold = button(t("Hold"), { key: "F9", "aria-pressed": "false", on: () => act("hold") });
    this.keypad = button(t("Keypad"), { key: "K", "aria-expanded": "false", on: () => this.toggleKeypad() });
    this.transfer = button(t("Transfer"), { key: "T", on: () => act("transfer") });
    this.pause = button(t("Pause recording"), { key: "P", on: () => act("recording") });
    this.objection = button(t("Caller objects"), { key: "O", title: t("The caller does not want to be recorded"), on: () => this.#object() });
    this.join = button(t("Connect them"), { key: "C", class: "primary", on: () => act("complete_transfer") });
    this.confer = button(t("All three"), { key: "J", on: () => act("confer") });
    this.back = button(t("Back to the caller"), { key: "B", on: () => act("cancel_transfer") });
    this.sent = h("output", { class: "keypad-sent", "aria-label": t("Sent tones") });
    this.pad = h(
      "div",
      { class: "keypad", hidden: true },
      this.sent,
      h("div", { class: "keypad-grid", role: "group", "aria-label": t("Keypad") }, ...DIGITS.map((digit) => button(digit, { on: () => this.press(digit) }))),
    );
    this.consult = h("div", { class: "consult" }, h("p", { class: "consult-text" }), h("div", { class: "call-buttons" }, this.join, this.confer, this.back));
    this.element = h(
      "div",
      { class: "call" },
      h("div", { class: "call-head" }, this.phase, this.clock, this.recording),
      this.ringing,
      this.hint,
      h("div", { class: "call-buttons call-main" }, this.answer, this.hangUp),
      this.consult,
      h("div", { class: "call-buttons call-more" }, this.mute, this.hold, this.keypad, this.transfer, this.pause, this.objection),
      this.pad,
    );
  }

  get isKeypadOpen() {
    return !this.pad.hidden;
  }

  toggleKeypad() {
    if (this.keypad.hidden) return;
    this.pad.hidden = !this.pad.hidden;
    this.keypad.setAttribute("aria-expanded", String(!this.pad.hidden));
    if (this.pad.hidden) setText(this.sent, "");
  }

  /** @param {string} digit */
  press(digit) {
    if (!DIGITS.includes(digit)) return;
    setText(this.sent, `${this.sent.textContent}${digit}`.slice(-24));
    this.context.act("digit", digit);
  }

  /** @param {import("./phone.js").PhoneCall|null} call the softphone's call, if it belongs to this card */
  tie(call) {
    this.#call = call;
    if (this.#pop) this.update(this.#pop);
  }

  /** @param {import("./types.js").Pop} pop */
  update(pop) {
    this.#pop = pop;
    const isRinging = pop.phase === "ringing";
    const isLive = pop.phase !== "wrap_up";
    const isTalking = isLive && !isRinging;
    const isUp = this.#call?.phase === "up";
    const isHeld = this.#call?.isHeld ?? pop.phase === "held";
    const isConsulting = pop.phase === "consulting" || pop.transfer?.kind === "attended";
    const hasRecord = pop.interaction !== "phone";
    this.element.dataset.phase = pop.phase;
    setText(this.phase, isHeld && isTalking && !isConsulting ? word("phase", "held") : word("phase", pop.phase));
    renderWhenChanged(this.clock, [pop.phase, pop.since], () => [this.context.timers.since(pop.since)]);
    renderWhenChanged(this.ringing, [isRinging && pop.until, pop.phase === "wrap_up" && pop.until], () => this.#countdown(pop));
    setText(this.hint, this.#hintText(pop));
    this.answer.hidden = !(isRinging && this.isBrowserPhone);
    /** @type {HTMLButtonElement} */ (this.answer).disabled = this.#call?.phase === "connecting";
    relabel(this.answer, this.#call?.phase === "connecting" ? t("Connecting…") : t("Answer"));
    this.hangUp.hidden = !(isTalking || (isRinging && this.isBrowserPhone));
    relabel(this.hangUp, isRinging ? t("Decline") : t("Hang up"));
    for (const control of [this.mute, this.hold, this.keypad]) control.hidden = !(isTalking && this.isBrowserPhone && isUp);
    if (this.keypad.hidden && this.isKeypadOpen) this.pad.hidden = true;
    this.hold.hidden ||= isConsulting;
    this.transfer.hidden = !(isTalking && hasRecord && !pop.transfer && pop.phase !== "consulting");
    this.pause.hidden = this.objection.hidden = !(isTalking && pop.recording !== "off");
    if (this.objection.hidden) this.#isObjecting = false;
    relabel(this.objection, this.#isObjecting ? t("Stop recording for good?") : t("Caller objects"));
    const isMuted = this.#call?.isMuted ?? false;
    this.mute.setAttribute("aria-pressed", String(isMuted));
    relabel(this.mute, isMuted ? t("Unmute") : t("Mute"));
    this.hold.setAttribute("aria-pressed", String(isHeld));
    relabel(this.hold, isHeld ? t("Resume") : t("Hold"));
    relabel(this.pause, pop.recording === "paused" ? t("Resume recording") : t("Pause recording"));
    this.recording.hidden = !isTalking || !hasRecord;
    this.recording.dataset.recording = pop.recording;
    setText(this.recording, { on: t("Recording"), paused: t("Recording paused"), off: this.#unrecordedText(pop) }[pop.recording]);
    this.#drawConsult(pop, isTalking && isConsulting);
  }

  /** The first press asks, the second does it: it can't be undone. */
  #object() {
    if (this.#isObjecting) this.context.act("objection");
    this.#isObjecting = !this.#isObjecting;
    if (this.#pop) this.update(this.#pop);
  }

  /** @param {import("./types.js").Pop} pop */
  #unrecordedText(pop) {
    const why = pop.recording_basis ?? "";
    return hasWord("unrecorded", why) ? word("unrecorded", why) : t("Not recorded");
  }

  /** @param {import("./types.js").Pop} pop */
  #countdown(pop) {
    if (pop.until === null || (pop.phase !== "ringing" && pop.phase !== "wrap_up")) return [];
    const label = pop.phase === "ringing" ? t("Time left to answer") : t("Wrap-up time left");
    return [this.context.timers.bar(pop.since, pop.until, label), this.context.timers.until(pop.until)];
  }

  /** @param {import("./types.js").Pop} pop */
  #hintText(pop) {
    if (pop.phase === "ringing" && !this.isBrowserPhone) return t("Answer on your desk phone");
    if (pop.phase === "ringing" && !this.#call) return t("Waiting for the phone to ring…");
    if (pop.transfer?.kind === "blind") return t("Transferring…");
    if (pop.conference && pop.phase === "talking") return t("You speak with the caller and {name}. Hang up to leave them together.", { name: this.context.targetName(pop.conference) });
    return "";
  }

  /** @param {import("./types.js").Pop} pop @param {boolean} isShown */
  #drawConsult(pop, isShown) {
    this.consult.hidden = !isShown;
    if (!isShown) return;
    const who = this.context.targetName(pop.transfer?.target ?? "");
    const isTalking = pop.transfer?.phase === "talking";
    this.confer.hidden = !isTalking;
    const text = isTalking ? t("You are talking with {name}. The caller waits with music.", { name: who }) : t("Calling {name}. The caller waits with music.", { name: who });
    setText(/** @type {Element} */ (this.consult.firstElementChild), text);
    relabel(this.join, isTalking ? t("Connect them") : t("Connect without waiting"));
  }
}
