// @ts-check
/** The agent's own state: what it is, since when, what comes next, and the buttons to change it. */
import { button, byId, h, renderWhenChanged, setText } from "./dom.js";
import { t } from "./messages.js";
import { hasWord, word } from "./words.js";

/** Events: `state` (detail: {state, reason}), `done` (wrap-up finished). */
export class StateBar extends EventTarget {
  /** @type {import("./types.js").Agent|null} */ #agent = null;
  #isUsable = false;

  /** @param {import("./timers.js").Timers} timers @param {import("./types.js").Reason[]} reasons */
  constructor(timers, reasons) {
    super();
    this.timers = timers;
    this.reasons = reasons;
    this.root = byId("state-bar");
    this.available = /** @type {HTMLButtonElement} */ (byId("state-available"));
    this.notReady = /** @type {HTMLButtonElement} */ (byId("state-not-ready"));
    this.menu = byId("state-reasons");
    this.available.addEventListener("click", () => this.ask("AVAILABLE"));
    this.notReady.addEventListener("click", () => this.toggleMenu());
    this.menu.replaceChildren(
      ...reasons.map((reason, index) =>
        button(reason.label, { key: index < 9 ? String(index + 1) : undefined, role: "menuitem", on: () => this.ask("NOT_READY", reason.code) }),
      ),
    );
    this.menu.addEventListener("keydown", (event) => this.#move(event));
    document.addEventListener("click", (event) => {
      if (event.target instanceof Node && !this.menu.contains(event.target) && !this.notReady.contains(event.target)) this.closeMenu();
    });
  }

  get isMenuOpen() {
    return !this.menu.hidden;
  }

  toggleMenu() {
    if (this.notReady.disabled) return;
    if (this.isMenuOpen) return this.closeMenu();
    if (!this.reasons.length) return this.ask("NOT_READY");
    this.menu.hidden = false;
    this.notReady.setAttribute("aria-expanded", "true");
    /** @type {HTMLElement} */ (this.menu.firstElementChild).focus();
  }

  closeMenu() {
    if (!this.isMenuOpen) return;
    const hadFocus = this.menu.contains(document.activeElement);
    this.menu.hidden = true;
    this.notReady.setAttribute("aria-expanded", "false");
    if (hadFocus) this.notReady.focus();
  }

  /** @param {number} index */
  chooseReason(index) {
    const reason = this.reasons[index];
    if (reason) this.ask("NOT_READY", reason.code);
  }

  /** @param {string} state @param {string} [reason] */
  ask(state, reason = "") {
    this.closeMenu();
    if (this.#isUsable) this.dispatchEvent(new CustomEvent("state", { detail: { state, reason } }));
  }

  /** @param {boolean} isUsable the server can be asked */
  use(isUsable) {
    this.#isUsable = isUsable;
    this.#draw();
  }

  /** @param {import("./types.js").Agent} agent */
  show(agent) {
    this.#agent = agent;
    this.#draw();
  }

  #draw() {
    const agent = this.#agent;
    this.available.disabled = this.notReady.disabled = !this.#isUsable || !agent;
    if (!agent) return;
    const isBusy = ["RESERVED", "ON_CALL", "WRAP_UP"].includes(agent.state);
    this.root.dataset.state = agent.state;
    document.body.dataset.agentState = agent.state;
    setText(byId("state-name"), word("state", agent.state));
    setText(byId("state-reason"), agent.reason && (agent.state === "NOT_READY" || hasWord("reason", agent.reason)) ? this.#reasonText(agent.reason) : "");
    renderWhenChanged(byId("state-since"), agent.since, () => [this.timers.since(agent.since)]);
    this.available.setAttribute("aria-pressed", String((isBusy ? agent.next_state : agent.state) === "AVAILABLE"));
    this.notReady.setAttribute("aria-pressed", String((isBusy ? agent.next_state : agent.state) === "NOT_READY"));
    setText(byId("state-next"), agent.state === "ON_CALL" || agent.state === "WRAP_UP" ? t("Then: {state}", { state: word("state", agent.next_state ?? "AVAILABLE") }) : "");
    const until = agent.state === "WRAP_UP" ? agent.until : null;
    renderWhenChanged(byId("state-wrap-up"), [agent.since, until], () =>
      until === null
        ? []
        : [this.timers.bar(agent.since, until, t("Wrap-up time left")), this.timers.until(until), button(t("Done"), { on: () => this.#done() })],
    );
  }

  #done() {
    this.dispatchEvent(new Event("done"));
  }

  /** @param {string} code */
  #reasonText(code) {
    return this.reasons.find((reason) => reason.code === code)?.label ?? word("reason", code);
  }

  /** @param {KeyboardEvent} event */
  #move(event) {
    const items = /** @type {HTMLElement[]} */ ([...this.menu.children]);
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 + items.length, Home: 0, End: items.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    items[to % items.length].focus();
  }
}
