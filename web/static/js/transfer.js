// @ts-check
/** Choosing where a caller goes: colleagues and queues with their live state, found by typing. */
import { ApiError, call } from "./api.js";
import { byId, h, renderWhenChanged, setText } from "./dom.js";
import { t } from "./messages.js";
import { refusal, word } from "./words.js";

const REFRESH_MS = 2000;
const ORDER = ["AVAILABLE", "WRAP_UP", "RESERVED", "ON_CALL", "NOT_READY", "LOGGED_OUT"];

/** @typedef {{target: string, name: string, kind: "agent"|"queue", state: string, waiting: number}} Target */

/** Events: `transfer` (detail: {target, is_attended}). */
export class TransferDialog extends EventTarget {
  /** @type {Target[]} */ #targets = [];
  #at = 0;
  /** @type {ReturnType<typeof setInterval>|undefined} */ #refresh;
  /** @type {Map<string, string>} */ #names = new Map();

  /** @param {string} self the agent's own id */
  constructor(self) {
    super();
    this.self = self;
    this.dialog = /** @type {HTMLDialogElement} */ (byId("transfer-dialog"));
    this.search = /** @type {HTMLInputElement} */ (byId("transfer-search"));
    this.list = byId("transfer-list");
    this.problem = byId("transfer-problem");
    this.blind = /** @type {HTMLButtonElement} */ (byId("transfer-blind"));
    this.attended = /** @type {HTMLButtonElement} */ (byId("transfer-attended"));
    this.search.addEventListener("input", () => this.#select(0));
    this.dialog.addEventListener("keydown", (event) => this.#key(event));
    this.dialog.addEventListener("close", () => clearInterval(this.#refresh));
    this.blind.addEventListener("click", () => this.#send(false));
    this.attended.addEventListener("click", () => this.#send(true));
    byId("transfer-close").addEventListener("click", () => this.dialog.close());
  }

  async open() {
    if (this.dialog.open) return;
    this.search.value = "";
    this.#at = 0;
    this.dialog.showModal();
    this.search.focus();
    clearInterval(this.#refresh);
    this.#refresh = setInterval(() => this.load(), REFRESH_MS);
    await this.load();
  }

  close() {
    this.dialog.close();
  }

  async load() {
    try {
      const { agents, queues } = await call("GET", "/api/desk/targets");
      const people = agents
        .filter((/** @type {any} */ one) => one.id !== this.self)
        .map((/** @type {any} */ one) => ({ target: `agent:${one.id}`, name: one.name, kind: "agent", state: one.state, waiting: 0 }))
        .sort((/** @type {Target} */ a, /** @type {Target} */ b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || a.name.localeCompare(b.name));
      const lines = queues.map((/** @type {any} */ one) => ({ target: `queue:${one.id}`, name: one.name, kind: "queue", state: "", waiting: one.waiting }));
      const chosen = this.#shown[this.#at]?.target;
      this.#targets = [...people, ...lines];
      for (const { target, name } of this.#targets) this.#names.set(target, name);
      const again = this.#shown.findIndex((one) => one.target === chosen);
      this.#select(again >= 0 ? again : this.#at);
      setText(this.problem, "");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setText(this.problem, refusal(error));
    }
  }

  /** @param {string} target @returns {string} */
  nameOf(target) {
    return this.#names.get(target) ?? target.replace(/^(agent|queue):/, "");
  }

  /** Learns the name of a target that a transfer speaks of. @param {string} target @returns {Promise<boolean>} whether it was new */
  async learn(target) {
    if (this.#names.has(target)) return false;
    this.#names.set(target, this.nameOf(target));
    await this.load();
    return true;
  }

  get #shown() {
    const wanted = this.search.value.trim().toLocaleLowerCase();
    return this.#targets.filter(({ name, target }) => !wanted || name.toLocaleLowerCase().includes(wanted) || target.includes(wanted));
  }

  /** @param {number} index */
  #select(index) {
    const shown = this.#shown;
    this.#at = Math.max(0, Math.min(index, shown.length - 1));
    renderWhenChanged(this.list, [shown, this.#at], () => shown.length ? shown.map((one, place) => this.#row(one, place)) : [h("li", { class: "quiet-text" }, t("Nobody found"))]);
    const chosen = shown[this.#at];
    this.search.setAttribute("aria-activedescendant", chosen ? `transfer-option-${this.#at}` : "");
    this.blind.disabled = !chosen || chosen.state === "LOGGED_OUT";
    this.attended.disabled = !chosen || chosen.kind !== "agent" || chosen.state !== "AVAILABLE";
    this.list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  /** @param {Target} one @param {number} place */
  #row(one, place) {
    const state = one.kind === "agent" ? word("state", one.state) : t("{count} waiting", { count: one.waiting });
    return h(
      "li",
      {
        id: `transfer-option-${place}`, role: "option", "aria-selected": String(place === this.#at), class: "target",
        data: { kind: one.kind, state: one.state }, on: { click: () => this.#select(place) },
      },
      h("span", { class: "target-name" }, one.name),
      h("span", { class: "target-kind" }, one.kind === "agent" ? t("Colleague") : t("Queue")),
      h("span", { class: "target-state" }, state),
    );
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) this.#select(this.#at + step);
    else if (event.key === "Enter" && event.target === this.search) this.#send(!event.shiftKey && !this.attended.disabled);
    else return;
    event.preventDefault();
  }

  /** @param {boolean} isAttended */
  #send(isAttended) {
    const chosen = this.#shown[this.#at];
    if (!chosen || (isAttended ? this.attended : this.blind).disabled) return;
    this.dialog.close();
    this.dispatchEvent(new CustomEvent("transfer", { detail: { target: chosen.target, is_attended: isAttended } }));
  }
}
