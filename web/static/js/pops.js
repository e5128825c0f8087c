// @ts-check
/** The cards on this desk, each in its tab: those that the server announced, and a call that came without one. */
import { Card } from "./card.js";
import { byId, h } from "./dom.js";
import { t } from "./messages.js";
import { isTextField } from "./dom.js";
import { word } from "./words.js";

export const WORK = "work";
export const UNCARDED = "phone";

/** @typedef {import("./types.js").Pop} Pop */

export class Pops {
  /** @type {Map<string, Card>} */ cards = new Map();

  /**
   * @param {import("./tabs.js").Tabs} tabs
   * @param {import("./notices.js").Notices} notices
   * @param {import("./card.js").CardContext} context
   */
  constructor(tabs, notices, context) {
    this.tabs = tabs;
    this.notices = notices;
    this.context = context;
    tabs.add(WORK, byId("panel-work"));
    tabs.label(WORK, t("Customers"), "", "");
  }

  /** The card in front, if one is. */
  get active() {
    return this.cards.get(this.tabs.active) ?? null;
  }

  /** The card of the call that rings or is up. */
  get live() {
    return [...this.cards.values()].find((card) => card.isLive && card.hasRecord) ?? this.cards.get(UNCARDED) ?? null;
  }

  get ringing() {
    return [...this.cards.values()].find((card) => card.pop.phase === "ringing") ?? null;
  }

  /** @param {Pop} pop */
  show(pop) {
    const known = this.cards.get(pop.interaction);
    const isNew = !known;
    const before = known?.pop.phase;
    const card = known ?? new Card(pop, this.context, { hasRecord: pop.interaction !== UNCARDED });
    if (isNew) {
      this.cards.set(pop.interaction, card);
      this.tabs.add(pop.interaction, card.element);
    } else card.update(pop);
    this.tabs.label(pop.interaction, card.title, h("span", {}, `${word("phase", pop.phase)} `, this.context.timers.since(pop.since)), pop.phase);
    if (isNew && !this.#isFormInUse()) this.tabs.choose(pop.interaction);
    if (pop.phase === "ringing" && before !== "ringing") this.#announce(card);
    if (before === "ringing" && pop.phase === "talking") this.tabs.choose(pop.interaction);
    return card;
  }

  /** @param {string} interaction @param {string} reason */
  close(interaction, reason) {
    const card = this.cards.get(interaction);
    if (!card) return;
    const wasRinging = card.pop.phase === "ringing";
    this.#remove(interaction);
    if (wasRinging && reason !== "done") this.notices.show(t("{name}: {reason}", { name: card.title, reason: word("closed", reason) }));
  }

  /** Exactly these are on the desk; whatever else was is gone. @param {Pop[]} pops */
  replace(pops) {
    const present = new Set(pops.map((pop) => pop.interaction));
    for (const id of [...this.cards.keys()]) if (id !== UNCARDED && !present.has(id)) this.#remove(id);
    for (const pop of pops) this.show(pop);
  }

  /** @param {string} interaction */
  #remove(interaction) {
    this.cards.delete(interaction);
    const next = this.live?.pop.interaction ?? [...this.cards.keys()].at(-1) ?? WORK;
    this.tabs.remove(interaction, next);
  }

  /** Is somebody writing on a card right now? Then a new one waits in its tab. */
  #isFormInUse() {
    return this.active !== null && this.active.element.contains(document.activeElement) && isTextField(document.activeElement);
  }

  /** @param {Card} card */
  #announce(card) {
    const { queue, match, customers } = card.pop;
    const tier = match === "one" && customers[0]?.tier ? word("tier", customers[0].tier) : "";
    const how = this.context.isBrowserPhone ? t("Press F2 to answer.") : t("Answer on your desk phone.");
    this.notices.sayNow([t("Incoming call"), card.title, tier, queue?.name, how].filter(Boolean).join(". "));
  }
}
