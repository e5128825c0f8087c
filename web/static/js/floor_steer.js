// @ts-check
/** What a supervisor may do with the agent or caller that is chosen, by button and by key. */
import { ApiError, call } from "./api.js";
import { button, byId, embedded, setText } from "./dom.js";
import { t } from "./messages.js";
import { refusal, word } from "./words.js";

/**
 * @typedef {import("./floor_selection.js").Picked} Picked
 * @typedef {{label: string, kinds: string[], isPossible: (picked: Picked) => boolean, run: (picked: Picked) => void|Promise<unknown>,
 *   isOn?: (picked: Picked) => boolean, sure?: string}} Verb
 */

const ORDER = ["AVAILABLE", "WRAP_UP", "RESERVED", "ON_CALL", "NOT_READY"];

export class Steering {
  /** The verb that waits for a second press, and with whom. */ #asked = "";
  #drawn = "";

  /**
   * @param {import("./floor_selection.js").Selection} selection
   * @param {import("./notices.js").Notices} notices
   * @param {import("./floor_dialogs.js").ChoiceDialog} choice
   * @param {import("./floor_dialogs.js").MessageDialog} message
   */
  constructor(selection, notices, choice, message) {
    this.selection = selection;
    this.notices = notices;
    this.choice = choice;
    this.message = message;
    this.bar = byId("steer");
    this.buttons = byId("steer-buttons");
    this.hasPhone = this.bar.dataset.hasPhone !== undefined;
    /** @type {{code: string, label: string}[]} */ this.reasons = embedded("reasons", []);
    const isThere = (/** @type {Picked} */ { state }) => state !== "LOGGED_OUT";
    const isTalking = (/** @type {Picked} */ { interaction }) => interaction !== "";
    const calls = (/** @type {Picked} */ { interaction }, /** @type {string} */ rest, /** @type {object} */ body) => this.#post(`/api/floor/calls/${encodeURIComponent(interaction)}${rest}`, body);
    const spy = (/** @type {string} */ mode) => ({
      kinds: ["agent"],
      isPossible: isTalking,
      isOn: (/** @type {Picked} */ picked) => picked.mode === mode,
      run: async (/** @type {Picked} */ picked) => {
        const isDone = await calls(picked, "/listening", { agent: picked.id, mode });
        if (isDone && !picked.mode) this.notices.show(t("Your phone is called: answer it to hear the talk."));
      },
    });
    const state = (/** @type {Picked} */ { id }, /** @type {string} */ wanted, reason = "") => this.#post(`/api/floor/agents/${encodeURIComponent(id)}/state`, { state: wanted, reason });
    /** @type {Record<string, Verb>} */
    this.verbs = {
      l: { label: t("Listen"), ...spy("listen") },
      w: { label: t("Whisper"), ...spy("whisper") },
      b: { label: t("Barge in"), ...spy("barge"), sure: t("Both will hear you: barge in?") },
      e: { label: t("End listening"), kinds: ["agent"], isPossible: ({ mode }) => mode !== "", run: (picked) => calls(picked, "/listening/end", {}) },
      t: { label: t("Take over"), kinds: ["agent"], isPossible: isTalking, sure: t("Take the caller over now?"), run: (picked) => calls(picked, "/take-over", { agent: picked.id }) },
      a: { label: t("Available"), kinds: ["agent"], isPossible: isThere, run: (picked) => state(picked, "AVAILABLE") },
      n: { label: t("Not ready"), kinds: ["agent"], isPossible: isThere, run: (picked) => this.#askReason(picked, (reason) => state(picked, "NOT_READY", reason)) },
      o: { label: t("Log out"), kinds: ["agent"], isPossible: isThere, sure: t("Log this agent out?"), run: (picked) => state(picked, "LOGGED_OUT") },
      g: { label: t("Give to…"), kinds: ["call"], isPossible: ({ phase }) => phase === "waiting", run: (picked) => this.#give(picked) },
      y: { label: t("Why?"), kinds: ["call"], isPossible: () => true, run: (picked) => document.getElementById(`why-${picked.id}`)?.click() },
      m: { label: t("Write"), kinds: ["agent"], isPossible: () => true, run: (picked) => this.#write(picked) },
    };
  }

  get keys() {
    return Object.keys(this.verbs);
  }

  /** @param {string} key @returns {boolean} whether it was for somebody here */
  press(key) {
    const { picked } = this.selection;
    const verb = this.verbs[key];
    if (key === "m" && picked?.kind !== "agent") {
      this.#write(null);
      return true;
    }
    if (!picked || !verb.kinds.includes(picked.kind) || !verb.isPossible(picked)) return false;
    const asked = `${key} ${picked.id}`;
    const isSure = !verb.sure || this.#asked === asked;
    this.#asked = isSure ? "" : asked;
    if (isSure) void verb.run(picked);
    else this.notices.sayNow(verb.sure ?? "");
    this.draw();
    return true;
  }

  draw() {
    const { picked } = this.selection;
    this.bar.hidden = !picked;
    document.body.toggleAttribute("data-steering", Boolean(picked));
    if (!picked) return;
    if (!this.#asked.endsWith(` ${picked.id}`)) this.#asked = "";
    setText(byId("steer-name"), picked.name);
    setText(byId("steer-state"), picked.kind === "agent" ? word("state", picked.state) : "");
    const shown = Object.entries(this.verbs).filter(([, verb]) => verb.kinds.includes(picked.kind));
    if (this.#drawn !== picked.kind) {
      this.#drawn = picked.kind;
      this.buttons.replaceChildren(...shown.map(([key, verb]) => button(verb.label, { key: key.toUpperCase(), data: { verb: key }, on: () => this.press(key) })));
    }
    for (const [key, verb] of shown) {
      const element = /** @type {HTMLButtonElement} */ (this.buttons.querySelector(`[data-verb="${key}"]`));
      element.disabled = !verb.isPossible(picked);
      if (verb.isOn) element.setAttribute("aria-pressed", String(verb.isOn(picked)));
      element.classList.toggle("is-asking", this.#asked === `${key} ${picked.id}`);
      setText(/** @type {Element} */ (element.querySelector(".label")), this.#asked === `${key} ${picked.id}` ? (verb.sure ?? "") : verb.label);
    }
    setText(byId("steer-note"), picked.kind === "agent" && !this.hasPhone ? t("You have no phone of your own here, so you cannot listen or take over: ask an administrator for an agent's seat.") : "");
  }

  /** @param {Picked} picked @param {(reason: string) => void} then */
  #askReason(picked, then) {
    const choices = this.reasons.map(({ code, label }) => ({ value: code, label, detail: "" }));
    this.choice.ask(t("{name}: why not ready?", { name: picked.name }), choices, then);
  }

  /** @param {Picked} picked */
  #give(picked) {
    const agents = this.selection.rows.map((row) => row.dataset).filter(({ pick, state }) => pick?.startsWith("agent:") && state !== "LOGGED_OUT");
    agents.sort((one, other) => ORDER.indexOf(one.state ?? "") - ORDER.indexOf(other.state ?? ""));
    const choices = agents.map(({ pick, name, state }) => ({ value: (pick ?? "").slice(6), label: name ?? "", detail: word("state", state ?? ""), state }));
    this.choice.ask(t("Give {name} to", { name: picked.name }), choices, async (agent) => {
      const name = choices.find(({ value }) => value === agent)?.label ?? agent;
      if (await this.#post(`/api/floor/calls/${encodeURIComponent(picked.id)}/pick`, { agent })) this.notices.show(t("{name} gets this caller next.", { name }));
    });
  }

  /** @param {Picked|null} picked */
  #write(picked) {
    const teams = [...document.querySelectorAll("[data-team]")].map((row) => /** @type {HTMLElement} */ (row).dataset.team ?? "");
    this.message.ask(picked, teams, async (to, text) => {
      if (await this.#post("/api/floor/messages", { ...to, text })) this.notices.show(t("Sent."));
    });
  }

  /** @param {string} path @param {object} body @returns {Promise<boolean>} whether it was taken */
  async #post(path, body) {
    try {
      await call("POST", path, body);
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.notices.show(refusal(error), { kind: "error" });
      return false;
    }
  }
}
