// @ts-check
/** Every running clock on the page: one tick a second, drawn from the server's times, right after any sleep. */
import { h, setText } from "./dom.js";
import { clockText } from "./time.js";

const TICK_MS = 250;

export class Timers {
  /** @param {import("./time.js").ServerClock} clock */
  constructor(clock) {
    this.clock = clock;
    /** @type {Set<() => void>} */ this.listeners = new Set();
    setInterval(() => this.tick(), TICK_MS);
    document.addEventListener("visibilitychange", () => this.tick());
  }

  /** An element that counts up from `since`. @param {number} since @param {string} [className] */
  since(since, className = "timer") {
    return h("span", { class: className, role: "timer", data: { since: String(since) } }, clockText(this.clock.now() - since));
  }

  /** An element that counts down to `until`. @param {number} until @param {string} [className] */
  until(until, className = "timer") {
    return h("span", { class: className, role: "timer", data: { until: String(until) } }, clockText(until - this.clock.now()));
  }

  /** A bar that empties from `since` to `until`. @param {number} since @param {number} until @param {string} label */
  bar(since, until, label) {
    const total = Math.max(1, until - since);
    return h("progress", { max: total, value: Math.max(0, until - this.clock.now()), "aria-label": label, data: { end: String(until) } });
  }

  tick() {
    const now = this.clock.now();
    for (const element of document.querySelectorAll("[data-since],[data-until]")) {
      const { since, until } = /** @type {HTMLElement} */ (element).dataset;
      setText(element, clockText(since ? now - Number(since) : Math.ceil(Number(until) - now)));
    }
    for (const bar of document.querySelectorAll("progress[data-end]")) {
      const progress = /** @type {HTMLProgressElement} */ (bar);
      progress.value = Math.max(0, Number(progress.dataset.end) - now);
    }
    for (const listener of this.listeners) listener();
  }
}
