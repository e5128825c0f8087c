// @ts-check
/**
 * What a person wrote or chose is kept here until the server has confirmed it: first in this browser, then over HTTP,
 * again and again while the server is away. The latest value of a key wins. Nothing typed is lost by a dropped line,
 * a reload or a closed browser.
 */
import { ApiError, call } from "./api.js";

const DEBOUNCE_MS = 600;
const FIRST_RETRY_MS = 1500;
const LAST_RETRY_MS = 15000;
const KEPT_S = 7 * 86400;

/**
 * @typedef {{path: string, body: object, at: number, isRefused?: boolean}} Draft
 * @typedef {"saved"|"saving"|"waiting"|"refused"} DraftState
 */

/** Events: `state` (detail: {key, state}), `refused` (detail: {key, error}). */
export class Drafts extends EventTarget {
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */ #timers = new Map();
  /** @type {Set<string>} */ #inFlight = new Set();
  /** @type {Map<string, number>} */ #failures = new Map();

  /** @param {string} owner whose drafts these are: a shared computer keeps them apart */
  constructor(owner) {
    super();
    this.prefix = `callfloor.draft.${owner}.`;
  }

  /** Sends what an earlier visit left behind, and forgets what is too old to matter. */
  resume() {
    for (const name of Object.keys(localStorage)) {
      if (!name.startsWith(this.prefix)) continue;
      const key = name.slice(this.prefix.length);
      const draft = this.get(key);
      if (!draft || Date.now() / 1000 - draft.at > KEPT_S) localStorage.removeItem(name);
      else if (!draft.isRefused) this.#later(key, 0);
    }
  }

  /** @param {string} key @returns {Draft|null} */
  get(key) {
    const text = localStorage.getItem(this.prefix + key);
    return text ? JSON.parse(text) : null;
  }

  /** @param {string} key @param {string} path @param {object} body @param {{isUrgent?: boolean}} [options] */
  put(key, path, body, { isUrgent = false } = {}) {
    localStorage.setItem(this.prefix + key, JSON.stringify({ path, body, at: Date.now() / 1000 }));
    this.#failures.delete(key);
    this.#tell(key, "saving");
    this.#later(key, isUrgent ? 0 : DEBOUNCE_MS);
  }

  /** Sends everything now instead of when its time comes. @returns {Promise<void>} */
  async flush() {
    await Promise.all([...this.#timers.keys()].map((key) => this.#send(key)));
  }

  get isEmpty() {
    return !Object.keys(localStorage).some((name) => name.startsWith(this.prefix));
  }

  /** @param {string} key @param {number} delay_ms */
  #later(key, delay_ms) {
    clearTimeout(this.#timers.get(key));
    this.#timers.set(key, setTimeout(() => this.#send(key), delay_ms));
  }

  /** @param {string} key */
  async #send(key) {
    clearTimeout(this.#timers.get(key));
    this.#timers.delete(key);
    if (this.#inFlight.has(key)) return this.#later(key, DEBOUNCE_MS);
    const sent = localStorage.getItem(this.prefix + key);
    if (!sent) return;
    const draft = /** @type {Draft} */ (JSON.parse(sent));
    this.#inFlight.add(key);
    try {
      await call("PUT", draft.path, draft.body);
      this.#failures.delete(key);
      if (localStorage.getItem(this.prefix + key) !== sent) this.#later(key, DEBOUNCE_MS);
      else {
        localStorage.removeItem(this.prefix + key);
        this.#tell(key, "saved");
      }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#failed(key, sent, error);
    } finally {
      this.#inFlight.delete(key);
    }
  }

  /** @param {string} key @param {string} sent @param {ApiError} error */
  #failed(key, sent, error) {
    if (error.isPassing || localStorage.getItem(this.prefix + key) !== sent) {
      const failures = (this.#failures.get(key) ?? 0) + 1;
      this.#failures.set(key, failures);
      this.#tell(key, "waiting");
      this.#later(key, Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1)));
      return;
    }
    localStorage.setItem(this.prefix + key, JSON.stringify({ ...JSON.parse(sent), isRefused: true }));
    this.#tell(key, "refused");
    this.dispatchEvent(new CustomEvent("refused", { detail: { key, error } }));
  }

  /** @param {string} key @param {DraftState} state */
  #tell(key, state) {
    this.dispatchEvent(new CustomEvent("state", { detail: { key, state } }));
  }
}
