// @ts-check
/** The part of the page that shows customers: htmx swaps it, and nothing in it can leave the page. */
import { byId } from "./dom.js";
import { localiseTimes } from "./time.js";

/** @type {any} */ const htmx = Reflect.get(window, "htmx");

export class Work {
  /** @param {import("./time.js").ServerClock} clock */
  constructor(clock) {
    this.place = byId("work");
    document.addEventListener("htmx:after:swap", () => localiseTimes(this.place, clock.now()));
    document.addEventListener("click", (event) => this.#follow(event));
    const start = byId("panel-work").dataset.start;
    if (start) void this.load(start);
  }

  /** @param {string} path of a page part */
  load(path) {
    return htmx.ajax("GET", path, { target: this.place, swap: "innerHTML" });
  }

  /** @param {number} party */
  openCustomer(party) {
    return this.load(`/customers/${party}`);
  }

  /** The search, ready to type into. */
  async search() {
    const start = byId("panel-work").dataset.start;
    if (!start) return;
    if (!this.#field) await this.load(start);
    this.#field?.focus();
    this.#field?.select();
  }

  /** @returns {HTMLInputElement|null} */
  get #field() {
    return this.place.querySelector("input[type=search]");
  }

  /** A link would unload the page and end the call: links of this part stay in it, all others open beside. @param {MouseEvent} event */
  #follow(event) {
    const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
    if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented || event.button !== 0) return;
    if (link.origin !== location.origin || link.target === "_blank" || link.hasAttribute("download")) return;
    if (link.pathname === location.pathname && link.hash) return;
    event.preventDefault();
    if (link.pathname === location.pathname) return;
    if (this.place.contains(link) && link.pathname.startsWith("/customers")) void this.load(link.pathname + link.search);
    else window.open(link.href, "_blank", "noopener");
  }
}
