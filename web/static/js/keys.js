// @ts-check
/**
 * The keyboard. Function keys and Ctrl+Enter work everywhere, also in the note; single letters only outside of text
 * fields, and a person who speaks to the computer can switch them off.
 */
import { byId, isTextField } from "./dom.js";

const STORED = "callfloor.single_keys";

/** @typedef {{run: () => void|boolean, isEverywhere?: boolean}} Binding */

export class Keys {
  /** @type {Map<string, Binding>} */ #bindings = new Map();
  /** @type {(key: string) => boolean} */ first = () => false;

  constructor() {
    this.help = /** @type {HTMLDialogElement} */ (byId("help-dialog"));
    const toggle = /** @type {HTMLInputElement} */ (byId("help-single-keys"));
    toggle.checked = this.hasSingleKeys;
    toggle.addEventListener("change", () => localStorage.setItem(STORED, toggle.checked ? "on" : "off"));
    byId("help-close").addEventListener("click", () => this.help.close());
    byId("open-help").addEventListener("click", () => this.help.showModal());
    document.addEventListener("keydown", (event) => this.#press(event));
  }

  get hasSingleKeys() {
    return localStorage.getItem(STORED) !== "off";
  }

  /** @param {string} name as `Shift+F2`, `Ctrl+Enter`, `m` @param {Binding["run"]} run returning false leaves the key alone @param {{isEverywhere?: boolean}} [options] */
  bind(name, run, options = {}) {
    this.#bindings.set(name, { run, ...options });
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (event.defaultPrevented || event.isComposing || event.altKey || event.metaKey) return;
    if (document.querySelector("dialog[open]") && event.key !== "F2" && event.key !== "F8") return;
    const isSingle = event.key.length === 1 && !event.ctrlKey;
    const name = isSingle ? event.key.toLowerCase() : `${event.ctrlKey ? "Ctrl+" : ""}${event.shiftKey ? "Shift+" : ""}${event.key}`;
    if (isSingle && (isTextField(event.target) || !this.hasSingleKeys)) return;
    if (isSingle && this.first(name)) return event.preventDefault();
    const binding = this.#bindings.get(name);
    if (!binding || (isTextField(event.target) && !binding.isEverywhere)) return;
    if (event.repeat || binding.run() !== false) event.preventDefault();
  }
}
