// @ts-check
/** The strip of open cards. A new card stands beside the old ones and never replaces a form in use. */
import { byId, h, setText } from "./dom.js";

/** Events: `chosen` (detail: id). */
export class Tabs extends EventTarget {
  /** @type {Map<string, {tab: HTMLElement, panel: HTMLElement}>} */ #open = new Map();
  active = "";

  constructor() {
    super();
    this.strip = byId("tabs");
    this.panels = byId("panels");
    this.strip.addEventListener("keydown", (event) => {
      if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
        event.preventDefault();
        this.step(event.key === "ArrowRight" ? 1 : -1);
        this.#open.get(this.active)?.tab.focus();
      }
    });
  }

  /** @param {string} id @param {HTMLElement} panel */
  add(id, panel) {
    const number = this.#open.size ? crypto.randomUUID() : "first";
    panel.id = `panel-${number}`;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", `tab-${number}`);
    panel.hidden = true;
    const tab = h(
      "button",
      { type: "button", role: "tab", id: `tab-${number}`, "aria-controls": panel.id, "aria-selected": "false", tabindex: "-1", class: "tab" },
      h("span", { class: "tab-name" }),
      h("span", { class: "tab-detail" }),
    );
    tab.addEventListener("click", () => this.choose(id));
    this.strip.append(tab);
    if (!panel.isConnected) this.panels.append(panel);
    this.#open.set(id, { tab, panel });
    if (!this.active) this.choose(id);
  }

  /** @param {string} id @param {string} name @param {Node|string} detail @param {string} phase */
  label(id, name, detail, phase) {
    const entry = this.#open.get(id);
    if (!entry) return;
    setText(/** @type {Element} */ (entry.tab.firstElementChild), name);
    const place = /** @type {HTMLElement} */ (entry.tab.lastElementChild);
    if (typeof detail === "string") setText(place, detail);
    else place.replaceChildren(detail);
    entry.tab.dataset.phase = phase;
  }

  /** @param {string} id */
  choose(id) {
    if (!this.#open.has(id)) return;
    for (const [other, { tab, panel }] of this.#open) {
      const isChosen = other === id;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      panel.hidden = !isChosen;
    }
    this.active = id;
    this.#open.get(id)?.tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.dispatchEvent(new CustomEvent("chosen", { detail: id }));
  }

  /** @param {number} by */
  step(by) {
    const ids = [...this.#open.keys()];
    this.choose(ids[(ids.indexOf(this.active) + by + ids.length) % ids.length]);
  }

  /** @param {string} id @param {string} then shown when the removed one was in front */
  remove(id, then) {
    const entry = this.#open.get(id);
    if (!entry) return;
    entry.tab.remove();
    entry.panel.remove();
    this.#open.delete(id);
    if (this.active === id) this.choose(then);
  }
}
