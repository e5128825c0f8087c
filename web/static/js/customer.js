// @ts-check
/** The parts of a card that show who it is. */
import { button, h } from "./dom.js";
import { t } from "./messages.js";
import { agoText, clockText, dayText, languageText, momentText } from "./time.js";
import { outcomeNames, word } from "./words.js";

const SERIOUS_FLAGS = new Set(["complaint_open", "payment_overdue", "do_not_call", "fraud_watch"]);

/** The customer that the card is about, if that is settled. @param {import("./types.js").Pop} pop */
export function settledCustomer(pop) {
  if (pop.party !== null && pop.party !== undefined) return pop.customers.find((one) => one.id === pop.party) ?? null;
  return pop.match === "one" ? (pop.customers[0] ?? null) : null;
}

/** What to call the caller in one line. @param {import("./types.js").Pop} pop */
export function callerName(pop) {
  const customer = settledCustomer(pop);
  if (customer?.name) return customer.name;
  if (pop.caller.is_withheld) return t("Number withheld");
  return pop.caller.number || pop.caller.name || pop.caller.handle || t("Unknown caller");
}

/** @param {import("./types.js").Customer} customer */
export function chips(customer) {
  const list = [];
  if (customer.tier) list.push(h("span", { class: "chip", data: { tier: customer.tier } }, word("tier", customer.tier)));
  for (const flag of customer.flags ?? []) {
    list.push(h("span", { class: SERIOUS_FLAGS.has(flag) ? "chip chip-serious" : "chip chip-flag" }, word("flag", flag)));
  }
  if (customer.status && customer.status !== "active") list.push(h("span", { class: "chip" }, word("status", customer.status)));
  return list;
}

/** @param {string} label @param {Node|string|undefined|null} value */
function fact(label, value) {
  return value ? [h("div", { class: "fact" }, h("dt", {}, label), h("dd", {}, value))] : [];
}

/** The caller as the telephone network shows it, and the way here. @param {import("./types.js").Pop} pop */
export function callFacts(pop) {
  const number = pop.caller.is_withheld ? t("Withheld") : pop.caller.number;
  const claimed = pop.caller.name && pop.caller.name !== settledCustomer(pop)?.name ? pop.caller.name : "";
  return [
    ...fact(t("Number"), number),
    ...fact(t("Shown as"), claimed),
    ...fact(t("Waited"), pop.waited_s === null ? "" : clockText(pop.waited_s)),
    ...fact(t("Dialled"), pop.dnis),
    ...fact(t("Typed"), pop.account),
    ...fact(t("Chose"), pop.choice),
    ...fact(t("Transferred by"), pop.from_agent),
  ];
}

/** @param {import("./types.js").Customer} customer */
export function customerFacts(customer) {
  return [
    ...fact(t("Language"), customer.language ? languageText(customer.language) : ""),
    ...fact(t("Owner"), customer.owner),
    ...fact(t("Account"), customer.account_number),
    ...fact(t("Numbers"), customer.numbers?.join(", ")),
    ...fact(t("E-mail"), customer.email),
    ...fact(t("Customer since"), customer.since ? dayText(customer.since) : ""),
  ];
}

/** @param {import("./types.js").PastInteraction} past @param {number} now */
function pastInteraction(past, now) {
  const details = [past.queue, past.agent, past.talk_s ? clockText(past.talk_s) : ""].filter(Boolean).join(" · ");
  return h(
    "li",
    { class: "past" },
    h("span", { class: "past-way", title: past.direction === "outbound" ? t("Outbound") : t("Inbound") }, past.direction === "outbound" ? "↗" : "↙"),
    h("span", { class: "past-when", title: momentText(past.at) }, agoText(past.at, now)),
    past.disposition ? h("span", { class: "chip chip-outcome" }, outcomeNames.get(past.disposition) ?? past.disposition) : null,
    h("span", { class: "past-details" }, details),
    past.has_recording ? h("span", { class: "past-recording", title: t("Recorded") }, "●") : null,
    past.note ? h("p", { class: "past-note" }, past.note) : null,
  );
}

/** @param {import("./types.js").Customer} customer @param {number} now @returns {Node[]} */
export function history(customer, now) {
  if (!customer.interactions) return [];
  const list = customer.interactions.length
    ? h("ol", { class: "history-list" }, ...customer.interactions.slice(0, 5).map((past) => pastInteraction(past, now)))
    : h("p", { class: "quiet-text" }, t("First contact"));
  return [h("h3", {}, t("Last contacts")), list];
}

/** @param {import("./types.js").Product[]} products @returns {Node[]} */
export function productPanel(products) {
  const rows = products.map((product) =>
    h(
      "li",
      { class: "product", data: { relation: product.relation } },
      h("span", { class: "product-name" }, product.name),
      h("span", { class: "chip" }, word("relation", product.relation)),
      product.summary ? h("p", { class: "product-summary" }, product.summary) : null,
    ),
  );
  const body = rows.length ? h("ul", { class: "product-list" }, ...rows) : h("p", { class: "quiet-text" }, t("No products known"));
  return [h("h3", {}, t("Products")), body];
}

/**
 * The list to choose from when several customers share what the caller is known by.
 * @param {import("./types.js").Customer[]} customers
 * @param {(party: number|null) => void} choose
 * @param {number} now
 */
export function choiceList(customers, choose, now) {
  return h(
    "ol",
    { class: "choices" },
    ...customers.map((customer, index) => {
      const last = customer.interactions?.[0];
      const row = button("", { class: "choice", on: () => choose(customer.id) });
      row.replaceChildren(
        h("kbd", { "aria-hidden": "true" }, index < 9 ? String(index + 1) : ""),
        h("span", { class: "choice-name" }, customer.name ?? `#${customer.id}`),
        h("span", { class: "choice-chips" }, ...chips(customer)),
        h("span", { class: "choice-details" }, [customer.company, customer.owner, customer.account_number].filter(Boolean).join(" · ")),
        h("span", { class: "choice-last" }, last ? `${agoText(last.at, now)}${last.disposition ? ` · ${outcomeNames.get(last.disposition) ?? last.disposition}` : ""}` : t("First contact")),
      );
      return h("li", {}, row);
    }),
  );
}
