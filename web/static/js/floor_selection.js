// @ts-check
/** Which agent or caller is chosen. The picture is drawn anew every two seconds; the choice stays. */

/** @typedef {{kind: "agent"|"call", id: string, name: string, state: string, interaction: string, mode: string, phase: string}} Picked */

/** Events: `change`. */
export class Selection extends EventTarget {
  #key = "";
  /** @type {Picked|null} */ picked = null;

  /** @param {HTMLElement} place the part of the page that is drawn anew */
  constructor(place) {
    super();
    this.place = place;
    place.addEventListener("click", (event) => {
      if (!(event.target instanceof Element) || event.target.closest("a")) return;
      const row = event.target.closest("[data-pick]");
      if (row instanceof HTMLElement) this.choose(row.dataset.pick ?? "");
    });
    document.addEventListener("htmx:after:swap", () => this.#follow());
  }

  /** @returns {HTMLElement[]} */
  get rows() {
    return [...this.place.querySelectorAll("[data-pick]")].filter((row) => row instanceof HTMLElement);
  }

  /** @param {string} key */
  choose(key) {
    this.#key = key;
    this.#follow();
  }

  /** @returns {boolean} whether there was a choice to leave */
  clear() {
    if (!this.#key) return false;
    this.choose("");
    return true;
  }

  /** The row before or after the chosen one. @param {number} by */
  step(by) {
    const rows = this.rows;
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.dataset.pick === this.#key);
    const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, at + by))];
    this.choose(next.dataset.pick ?? "");
    /** @type {HTMLElement|null} */ (next.querySelector(".pick"))?.focus();
    next.scrollIntoView({ block: "nearest" });
  }

  /** Marks what is chosen in the picture as it is now. Whoever is gone from it is no longer chosen. */
  #follow() {
    /** @type {HTMLElement|null} */ let found = null;
    for (const row of this.rows) {
      const isPicked = row.dataset.pick === this.#key;
      if (isPicked) found = row;
      row.classList.toggle("picked", isPicked);
      row.querySelector(".pick")?.setAttribute("aria-pressed", String(isPicked));
    }
    if (!found) this.#key = "";
    const { name = "", state = "", interaction = "", mode = "", phase = "" } = found?.dataset ?? {};
    const [, kind, id] = /^(agent|call):(.*)$/.exec(this.#key) ?? ["", "agent", ""];
    this.picked = found ? { kind: kind === "agent" ? "agent" : "call", id, name, state, interaction, mode, phase } : null;
    this.dispatchEvent(new Event("change"));
  }
}
