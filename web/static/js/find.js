// @ts-check
/** Finding the customer of a call: the server's own search page, read as data, each hit a button that links it. */
import { h, setText } from "./dom.js";
import { t } from "./messages.js";

const WAIT_MS = 250;
const LEAST = 2;
const MOST_SHOWN = 8;

/** @param {string} query @returns {Promise<{id: number, name: string, details: string}[]>} */
async function find(query) {
  const answer = await fetch(`/customers?q=${encodeURIComponent(query)}`, { headers: { "HX-Request": "true", Accept: "text/html" }, redirect: "error" });
  if (!answer.ok) throw new TypeError(`search: ${answer.status}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return [...page.querySelectorAll('li a[href^="/customers/"]')].flatMap((link) => {
    const id = Number(/^\/customers\/(\d+)$/.exec(link.getAttribute("href") ?? "")?.[1]);
    const details = [...(link.closest("li")?.children ?? [])].filter((one) => one !== link).map((one) => one.textContent?.trim()).filter(Boolean);
    return id ? [{ id, name: link.textContent?.trim() ?? "", details: details.join(" · ") }] : [];
  });
}

/** A search field with its hits. @param {(party: number) => void} choose @returns {Node[]} */
export function finder(choose) {
  const results = h("ol", { class: "choices" });
  const status = h("p", { class: "quiet-text", role: "status" });
  const field = /** @type {HTMLInputElement} */ (
    h("input", { type: "search", class: "choose-search", autocomplete: "off", placeholder: t("Find by name, number or account"), "aria-label": t("Find a customer"), maxlength: 100 })
  );
  /** @type {ReturnType<typeof setTimeout>|undefined} */ let timer;
  const look = async () => {
    const query = field.value.trim();
    if (query.length < LEAST) return results.replaceChildren();
    try {
      const found = await find(query);
      if (query !== field.value.trim()) return undefined;
      setText(status, found.length ? "" : t("Nobody found"));
      return results.replaceChildren(...found.slice(0, MOST_SHOWN).map((one) => hit(one, choose)));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      setText(status, t("The server cannot be reached. Try again in a moment."));
      return undefined;
    }
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, WAIT_MS);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    /** @type {HTMLElement|null} */ (results.querySelector("button"))?.click();
  });
  return [field, status, results];
}

/** @param {{id: number, name: string, details: string}} one @param {(party: number) => void} choose */
function hit(one, choose) {
  const row = h("button", { type: "button", class: "choice", on: { click: () => choose(one.id) } }, h("span", { class: "choice-name" }, one.name), h("span", { class: "choice-details" }, one.details));
  return h("li", {}, row);
}
