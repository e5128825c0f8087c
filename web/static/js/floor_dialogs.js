// @ts-check
/** Two small windows of the floor: one to choose out of a list by typing, one to write a message. */
import { byId, h, renderWhenChanged, setText } from "./dom.js";
import { t } from "./messages.js";

/** @typedef {{value: string, label: string, detail: string, state?: string, isOff?: boolean}} Choice */

export class ChoiceDialog {
  /** @type {Choice[]} */ #choices = [];
  #at = 0;
  /** @type {(value: string) => void} */ #then = () => {};

  constructor() {
    this.dialog = /** @type {HTMLDialogElement} */ (byId("choice-dialog"));
    this.search = /** @type {HTMLInputElement} */ (byId("choice-search"));
    this.list = byId("choice-list");
    this.search.addEventListener("input", () => this.#select(0));
    this.dialog.addEventListener("keydown", (event) => this.#key(event));
    byId("choice-close").addEventListener("click", () => this.dialog.close());
  }

  /** @param {string} title @param {Choice[]} choices @param {(value: string) => void} then */
  ask(title, choices, then) {
    this.#choices = choices;
    this.#then = then;
    this.search.value = "";
    setText(byId("choice-title"), title);
    this.#select(0);
    this.dialog.showModal();
    this.search.focus();
  }

  get #shown() {
    const wanted = this.search.value.trim().toLocaleLowerCase();
    return this.#choices.filter(({ label, value }) => !wanted || label.toLocaleLowerCase().includes(wanted) || value.includes(wanted));
  }

  /** @param {number} index */
  #select(index) {
    const shown = this.#shown;
    this.#at = Math.max(0, Math.min(index, shown.length - 1));
    renderWhenChanged(this.list, [shown, this.#at], () => shown.map((one, place) => this.#row(one, place)));
    this.search.setAttribute("aria-activedescendant", shown.length ? `choice-option-${this.#at}` : "");
    this.list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  /** @param {Choice} one @param {number} place */
  #row(one, place) {
    return h(
      "li",
      {
        id: `choice-option-${place}`, role: "option", class: "target", "aria-selected": String(place === this.#at), "aria-disabled": one.isOff ? "true" : null,
        data: { state: one.state ?? "" }, on: { click: () => this.#take(one) },
      },
      h("span", { class: "target-name" }, one.label),
      h("span", { class: "target-state" }, one.detail),
    );
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const chosen = this.#shown[this.#at];
    if (step) this.#select(this.#at + step);
    else if (event.key === "Enter" && event.target === this.search && chosen) this.#take(chosen);
    else return;
    event.preventDefault();
  }

  /** @param {Choice} one */
  #take(one) {
    if (one.isOff) return;
    this.dialog.close();
    this.#then(one.value);
  }
}

export class MessageDialog {
  /** @type {(to: {agent?: string, team?: string}, text: string) => void} */ #then = () => {};

  constructor() {
    this.dialog = /** @type {HTMLDialogElement} */ (byId("message-dialog"));
    this.to = /** @type {HTMLSelectElement} */ (byId("message-to"));
    this.text = /** @type {HTMLTextAreaElement} */ (byId("message-text"));
    byId("message-close").addEventListener("click", () => this.dialog.close());
    byId("message-send").addEventListener("click", () => this.#send());
    this.dialog.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.ctrlKey) this.#send();
    });
  }

  /**
   * @param {{id: string, name: string}|null} agent @param {string[]} teams
   * @param {(to: {agent?: string, team?: string}, text: string) => void} then
   */
  ask(agent, teams, then) {
    this.#then = then;
    this.to.replaceChildren(
      ...(agent ? [h("option", { value: `agent:${agent.id}` }, agent.name)] : []),
      h("option", { value: "" }, t("Everybody who is logged in")),
      ...teams.map((team) => h("option", { value: `team:${team}` }, t("Team {name}", { name: team }))),
    );
    this.text.value = "";
    this.dialog.showModal();
    this.text.focus();
  }

  #send() {
    const text = this.text.value.trim();
    if (!text) return this.text.focus();
    const [, kind, value] = /^(agent|team):(.*)$/.exec(this.to.value) ?? [];
    this.dialog.close();
    this.#then(kind ? { [kind]: value } : {}, text);
  }
}
