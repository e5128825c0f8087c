// @ts-check
/** What came of the call, chosen with one key or one click. */
import { interactionPath } from "./api.js";
import { button, h } from "./dom.js";
import { t } from "./messages.js";

/** Letters that command the phone and the page; an outcome with such a key gets a digit instead. */
export const COMMAND_KEYS = new Set(["a", "n", "m", "h", "t", "k", "p", "e", "c", "b", "u", "s"]);
const DIGITS = "123456789";

/**
 * One key for each outcome: its own where that is free, else the next free digit, else none.
 * @param {import("./types.js").Disposition[]} dispositions
 * @returns {(import("./types.js").Disposition & {key: string})[]}
 */
export function withKeys(dispositions) {
  const isFit = (/** @type {string} */ key) => /^[a-z0-9]$/.test(key) && !COMMAND_KEYS.has(key);
  const taken = new Set(dispositions.map(({ key }) => (key ?? "").toLowerCase()).filter(isFit));
  /** @type {Set<string>} */ const given = new Set();
  return dispositions.map((disposition) => {
    let key = (disposition.key ?? "").toLowerCase();
    if (!isFit(key) || given.has(key)) key = [...DIGITS].find((digit) => !taken.has(digit) && !given.has(digit)) ?? "";
    given.add(key);
    return { ...disposition, key };
  });
}

export class Outcome {
  /** @type {Map<string, HTMLElement>} */ #buttons = new Map();
  chosen = "";

  /**
   * @param {string} interaction
   * @param {import("./drafts.js").Drafts} drafts
   * @param {import("./types.js").Disposition[]} dispositions of this queue
   */
  constructor(interaction, drafts, dispositions) {
    this.key = `${interaction}/disposition`;
    this.path = interactionPath(interaction, "/disposition");
    this.drafts = drafts;
    this.dispositions = withKeys(dispositions);
    for (const { code, label, key } of this.dispositions) {
      const choice = button(label, { key: key.toUpperCase() || undefined, class: "outcome", "aria-pressed": "false", on: () => this.choose(code) });
      this.#buttons.set(code, choice);
    }
    this.element = h(
      "div",
      { class: "outcomes", role: "group", "aria-label": t("Outcome") },
      h("div", { class: "outcomes-head" }, t("Outcome")),
      h("div", { class: "outcomes-grid" }, ...this.#buttons.values()),
    );
    drafts.addEventListener("refused", (event) => {
      if (/** @type {CustomEvent} */ (event).detail.key === this.key) this.#mark("");
    });
  }

  /** @param {string} code */
  choose(code) {
    this.#mark(code);
    this.drafts.put(this.key, this.path, { code }, { isUrgent: true });
  }

  /** @param {string} key @returns {boolean} whether the key meant an outcome */
  press(key) {
    const disposition = this.dispositions.find((one) => one.key && one.key === key);
    if (disposition) this.choose(disposition.code);
    return Boolean(disposition);
  }

  /** @param {string} code what the server has */
  adopt(code) {
    const draft = this.drafts.get(this.key);
    this.#mark(draft && !draft.isRefused ? /** @type {{code: string}} */ (draft.body).code : code);
  }

  /** @param {string} code */
  #mark(code) {
    this.chosen = code;
    this.element.classList.remove("is-missing");
    for (const [one, choice] of this.#buttons) choice.setAttribute("aria-pressed", String(one === code));
  }

  /** Says that nothing was chosen yet. */
  remind() {
    this.element.classList.add("is-missing");
    /** @type {HTMLElement|undefined} */ (this.#buttons.values().next().value)?.focus();
  }
}
