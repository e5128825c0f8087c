// @ts-check
/** What stands beside the cards: who listens to this agent's talk, whose talk this person listens to, and what a supervisor wrote. */
import { button, byId, h, renderWhenChanged, setText } from "./dom.js";
import { t } from "./messages.js";

/** A phone that rings so soon after listening was asked for rings for that. */
const AWAITED_S = 25;

/** What the agent is told, by how the supervisor is in the talk. @type {Record<string, (name: string) => string>} */
const HEARD = {
  listen: (name) => t("{name} listens to this talk.", { name }),
  whisper: (name) => t("{name} speaks to you, and the caller does not hear it.", { name }),
  barge: (name) => t("{name} speaks along, and the caller hears it.", { name }),
};

export class Beside {
  /** @type {import("./types.js").Beside} */ #shown = { listeners: [], spying: null, messages: [] };

  /**
   * @param {import("./notices.js").Notices} notices
   * @param {import("./time.js").ServerClock} clock
   * @param {(verb: string, value?: any) => void} act
   */
  constructor(notices, clock, act) {
    this.notices = notices;
    this.clock = clock;
    this.act = act;
    this.messages = byId("beside-messages");
    this.listeners = byId("beside-listeners");
    this.spying = byId("beside-spying");
  }

  /** Whose talk this person listens to, or is about to. */
  get heard() {
    return this.#shown.spying;
  }

  /** Does the phone ring because this person asked to listen? */
  get isAwaited() {
    const { spying } = this.#shown;
    return spying !== null && !spying.is_on && this.clock.now() - spying.at < AWAITED_S;
  }

  /** @param {import("./types.js").Beside} beside */
  show(beside) {
    const known = new Set(this.#shown.messages.map(({ id }) => id));
    const before = this.#listenerText();
    this.#shown = beside;
    this.#draw();
    for (const { id, from, text } of beside.messages) if (!known.has(id)) this.notices.sayNow(t("{name} writes: {text}", { name: from, text }));
    const now = this.#listenerText();
    if (now && now !== before) this.notices.say(now);
  }

  /** The oldest message has been read. @returns {boolean} whether there was one */
  read() {
    const [oldest] = this.#shown.messages;
    if (!oldest) return false;
    this.act("read_message", oldest.id);
    this.show({ ...this.#shown, messages: this.#shown.messages.slice(1) });
    return true;
  }

  #listenerText() {
    return this.#shown.listeners.map(({ name, mode }) => HEARD[mode]?.(name) ?? `${name}: ${mode}`).join(" · ");
  }

  #draw() {
    const { listeners, spying, messages } = this.#shown;
    renderWhenChanged(this.messages, messages, () =>
      messages.map(({ id, from, text }, index) =>
        h("li", { data: { message: id } }, h("strong", {}, from), h("span", { class: "message-text" }, text), button(t("Read"), { key: index === 0 ? "R" : undefined, on: () => this.#read(id) })),
      ),
    );
    this.listeners.hidden = !listeners.length;
    setText(this.listeners, this.#listenerText());
    this.spying.hidden = !spying;
    renderWhenChanged(this.spying, spying, () => (spying ? this.#spyingParts(spying) : []));
  }

  /** @param {string} id */
  #read(id) {
    this.act("read_message", id);
    this.show({ ...this.#shown, messages: this.#shown.messages.filter((one) => one.id !== id) });
  }

  /** @param {NonNullable<import("./types.js").Beside["spying"]>} spying */
  #spyingParts(spying) {
    const text = spying.is_on ? t("You hear the talk of {name}.", { name: spying.name }) : t("Your phone rings so that you hear the talk of {name}.", { name: spying.name });
    const mode = (/** @type {string} */ wanted, /** @type {string} */ label) =>
      button(label, { "aria-pressed": String(spying.is_on && spying.mode === wanted), on: () => this.act("spy", { ...spying, mode: wanted }) });
    return [
      h("span", { class: "spying-text" }, text),
      mode("listen", t("Listen")),
      mode("whisper", t("Whisper")),
      mode("barge", t("Barge in")),
      button(t("End listening"), { on: () => this.act("end_spying", spying) }),
    ];
  }
}
