// @ts-check
/** Choosing where a caller goes: colleagues, queues and skills as they are now, found by typing; or a number outside. */
import { ApiError, call } from "./api.js";
import { byId, h, renderWhenChanged, setText } from "./dom.js";
import { t } from "./messages.js";
import { refusal, word } from "./words.js";

const REFRESH_MS = 2000;
const ORDER = ["AVAILABLE", "WRAP_UP", "RESERVED", "ON_CALL", "NOT_READY", "LOGGED_OUT"];

/** A number as a person types it, and an expression over skills. */
const NUMBER = /^\+?[\d\s()./-]{3,}$/;
const EXPRESSION = /[<>=]/;

/** @typedef {{target: string, name: string, kind: "agent"|"queue"|"skill"|"number", state: string, detail: string}} Target */

/** Events: `transfer` (detail: {target, is_attended}). */
export class TransferDialog extends EventTarget {
  /** @type {Target[]} */ #targets = [];
  #at = 0;
  /** Callers may be handed on to numbers outside. */ #mayLeave = false;
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
      const { agents, queues, skills, may_leave } = await call("GET", "/api/desk/targets");
      this.#mayLeave = may_leave;
      const people = agents
        .filter((/** @type {any} */ one) => one.id !== this.self)
        .map((/** @type {any} */ one) => ({ target: `agent:${one.id}`, name: one.name, kind: "agent", state: one.state, detail: word("state", one.state) }))
        .sort((/** @type {Target} */ a, /** @type {Target} */ b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || a.name.localeCompare(b.name));
      const lines = queues.map((/** @type {any} */ one) => ({ target: `queue:${one.id}`, name: one.name, kind: "queue", state: "", detail: t("{count} waiting", { count: one.waiting }) }));
      const abilities = skills.map((/** @type {any} */ one) => ({ target: `skill:${one.id}`, name: one.id, kind: "skill", state: "", detail: t("{count} available", { count: one.agents_available }) }));
      const chosen = this.#shown[this.#at]?.target;
      this.#targets = [...people, ...lines, ...abilities];
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
    return this.#names.get(target) ?? target.replace(/^(agent|queue|skill|number):/, "");
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
    const found = this.#targets.filter(({ name, target }) => !wanted || name.toLocaleLowerCase().includes(wanted) || target.includes(wanted));
    return [...found, ...this.#typed()];
  }

  /** What was typed is itself a target: a number outside, or what somebody must be able to do. @returns {Target[]} */
  #typed() {
    const text = this.search.value.trim();
    if (this.#mayLeave && NUMBER.test(text)) {
      const number = text.replace(/[^\d+]/g, "");
      return [{ target: `number:${number}`, name: number, kind: "number", state: "", detail: "" }];
    }
    return EXPRESSION.test(text) ? [{ target: `skill:${text}`, name: text, kind: "skill", state: "", detail: "" }] : [];
  }

  /** @param {number} index */
  #select(index) {
    const shown = this.#shown;
    this.#at = Math.max(0, Math.min(index, shown.length - 1));
    renderWhenChanged(this.list, [shown, this.#at], () => shown.length ? shown.map((one, place) => this.#row(one, place)) : [h("li", { class: "quiet-text" }, t("Nobody found"))]);
    const chosen = shown[this.#at];
    this.search.setAttribute("aria-activedescendant", chosen ? `transfer-option-${this.#at}` : "");
    this.blind.disabled = !chosen || chosen.state === "LOGGED_OUT";
    this.attended.disabled = !chosen || (chosen.kind === "agent" && chosen.state !== "AVAILABLE");
    this.list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  /** @param {Target} one @param {number} place */
  #row(one, place) {
    const kinds = { agent: t("Colleague"), queue: t("Queue"), skill: t("Skill"), number: t("Outside number") };
    return h(
      "li",
      {
        id: `transfer-option-${place}`, role: "option", "aria-selected": String(place === this.#at), class: "target",
        data: { kind: one.kind, state: one.state }, on: { click: () => this.#select(place) },
      },
      h("span", { class: "target-name" }, one.name),
      h("span", { class: "target-kind" }, kinds[one.kind]),
      h("span", { class: "target-state" }, one.detail),
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
