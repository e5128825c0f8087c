// @ts-check
/** One caller's card: who it is, what they own, what was said last, and what to write down now. */
import { CallControls } from "./call_controls.js";
import { callFacts, callerName, chips, choiceList, customerFacts, history, productPanel, settledCustomer } from "./customer.js";
import { button, h, renderWhenChanged, setText } from "./dom.js";
import { finder } from "./find.js";
import { t } from "./messages.js";
import { Note } from "./notes.js";
import { Outcome } from "./outcome.js";
import { languageText } from "./time.js";
import { hasWord, word } from "./words.js";

/**
 * @typedef {import("./types.js").Pop} Pop
 * @typedef {{timers: import("./timers.js").Timers, drafts: import("./drafts.js").Drafts,
 *   dispositions: import("./types.js").Disposition[], isBrowserPhone: boolean,
 *   act: (verb: string, value?: any) => void, targetName: (target: string) => string}} CardContext
 */

export class Card {
  /** @type {Outcome|null} */ outcome = null;
  #isChoosing = false;
  #reminded = false;

  /** @param {Pop} pop @param {CardContext} context @param {{hasRecord?: boolean}} [options] false: a call that the server knows nothing of */
  constructor(pop, context, { hasRecord = true } = {}) {
    this.pop = pop;
    this.context = context;
    this.hasRecord = hasRecord;
    this.name = h("h2", { class: "who-name", tabindex: "-1" });
    this.chips = h("div", { class: "who-chips" });
    this.company = h("div", { class: "who-company" });
    this.route = h("div", { class: "who-route" });
    this.why = h("p", { class: "who-why quiet-text" });
    this.callFacts = h("dl", { class: "details" });
    this.customerFacts = h("dl", { class: "details details-customer" });
    this.choice = h("section", { class: "choose", "aria-label": t("Choose the customer") });
    this.history = h("section", { class: "history" });
    this.products = h("section", { class: "offers", "aria-label": t("Products") });
    this.links = h("div", { class: "who-links" });
    this.controls = new CallControls(context);
    this.note = new Note(pop.interaction, context.drafts);
    const queue = pop.queue?.id;
    const fitting = context.dispositions.filter((one) => !one.queue || one.queue === queue);
    if (hasRecord) this.outcome = new Outcome(pop.interaction, context.drafts, fitting);
    this.done = button(t("Done"), { key: "Ctrl+Enter", class: "primary done", on: () => context.act("done") });
    this.element = h(
      "section",
      { class: "card" },
      h(
        "div",
        { class: "card-who" },
        h("header", { class: "caller" }, h("div", { class: "who-line" }, this.name, this.chips), this.company, this.route, this.why),
        this.callFacts,
        this.choice,
        this.links,
        this.history,
      ),
      h("div", { class: "card-facts" }, this.products, this.customerFacts),
      h("div", { class: "card-work" }, this.controls.element, hasRecord ? this.note.element : null, this.outcome?.element ?? null, h("div", { class: "done-row" }, this.done)),
    );
    this.update(pop);
  }

  get title() {
    return callerName(this.pop);
  }

  get isLive() {
    return this.pop.phase !== "wrap_up";
  }

  /** Digits choose a customer while several could be meant. */
  get isToChoose() {
    return this.pop.customers.length > 1 && (this.#isChoosing || (this.pop.match === "many" && this.pop.party === null));
  }

  /** @param {Pop} pop */
  update(pop) {
    if (pop.party !== this.pop.party) this.#isChoosing = false;
    this.pop = pop;
    const customer = settledCustomer(pop);
    this.element.dataset.phase = pop.phase;
    this.element.dataset.match = pop.match;
    if (pop.phase !== "held") this.element.removeAttribute("data-held-long");
    setText(this.name, this.title);
    renderWhenChanged(this.chips, customer && [customer.tier, customer.flags, customer.status], () => (customer ? chips(customer) : []));
    setText(this.company, customer?.company ?? this.#matchText());
    this.#drawRoute();
    setText(this.why, pop.why && hasWord("why", pop.why) ? word("why", pop.why) : "");
    renderWhenChanged(this.callFacts, [pop.caller, pop.waited_s, pop.dnis, pop.account, pop.choice, pop.from_agent, customer?.name], () => callFacts(pop));
    renderWhenChanged(this.customerFacts, customer, () => (customer ? customerFacts(customer) : []));
    this.#drawChoice(customer);
    const now = this.context.timers.clock.now();
    renderWhenChanged(this.history, customer?.interactions, () => (customer ? history(customer, now) : []));
    renderWhenChanged(this.products, pop.products, () => (this.hasRecord ? productPanel(pop.products) : []));
    this.note.adopt(pop.note);
    this.outcome?.adopt(pop.disposition);
    this.done.hidden = pop.phase !== "wrap_up";
    this.controls.update(pop);
  }

  /** @param {number} index @returns {boolean} whether there was such a customer to choose */
  chooseAt(index) {
    const customer = this.pop.customers[index];
    if (!this.isToChoose || !customer) return false;
    this.#choose(customer.id);
    return true;
  }

  /** May this card be put away? The first time without an outcome it asks for one. */
  isReadyToFinish() {
    if (!this.outcome || this.outcome.chosen || !this.outcome.dispositions.length || this.#reminded) return true;
    this.#reminded = true;
    this.outcome.remind();
    return false;
  }

  #matchText() {
    if (!this.hasRecord) return t("This call came without a card");
    if (this.pop.match === "pending") return t("Looking up the customer…");
    if (this.pop.match === "failed") return t("The customer could not be looked up");
    if (this.pop.match === "many" && this.pop.party === null) return t("{count} customers have this number", { count: this.pop.customers.length });
    if (this.pop.party !== null) return t("Customer {number}", { number: this.pop.party });
    return t("Nobody is known by this number");
  }

  #drawRoute() {
    const { queue, language, direction } = this.pop;
    renderWhenChanged(this.route, [queue, language, direction], () => [
      queue ? h("span", { class: "route-queue" }, queue.name) : "",
      direction === "outbound" ? h("span", {}, t("Outbound")) : "",
      language ? h("span", { class: "route-language" }, t("Speaks {language}", { language: languageText(language) })) : "",
    ]);
  }

  /** @param {import("./types.js").Customer|null} customer */
  #drawChoice(customer) {
    const mustChoose = this.hasRecord && !customer && this.pop.party === null && this.pop.match !== "pending";
    const isShown = mustChoose || this.#isChoosing;
    this.choice.hidden = !isShown;
    renderWhenChanged(this.choice, isShown && [this.pop.customers, this.#isChoosing], () => this.#choiceParts());
    renderWhenChanged(this.links, [customer?.id ?? this.pop.party, isShown], () => this.#linkParts(customer?.id ?? this.pop.party, isShown));
  }

  #choiceParts() {
    if (!this.#isChoosing && !this.pop.customers.length && this.pop.match !== "none" && this.pop.match !== "failed") return [];
    const { customers } = this.pop;
    const list = customers.length > 1 ? [choiceList(customers, (party) => this.#choose(party), this.context.timers.clock.now())] : [];
    const nobody = customers.length ? [button(t("Nobody of these"), { class: "quiet", on: () => this.#choose(null) })] : [];
    return [...list, ...finder((party) => this.#choose(party)), ...nobody];
  }

  /** @param {number|null|undefined} party @param {boolean} isShown */
  #linkParts(party, isShown) {
    if (!this.hasRecord || party === null || party === undefined) return [];
    const open = button(t("Open customer"), { class: "quiet", on: () => this.context.act("open_customer", party) });
    const other = button(isShown ? t("Keep this customer") : t("Somebody else"), { class: "quiet", on: () => this.#toggleChoosing() });
    return [open, other];
  }

  /** Opens the search for another customer. */
  findCustomer() {
    if (!this.hasRecord) return;
    if (this.choice.hidden) this.#toggleChoosing();
    else this.#focusSearch();
  }

  #toggleChoosing() {
    this.#isChoosing = !this.#isChoosing;
    this.update(this.pop);
    this.#focusSearch();
  }

  #focusSearch() {
    /** @type {HTMLElement|null} */ (this.element.querySelector(".choose-search"))?.focus();
  }

  /** @param {number|null} party */
  #choose(party) {
    this.#isChoosing = false;
    this.context.act("choose_customer", { interaction: this.pop.interaction, party });
  }
}
