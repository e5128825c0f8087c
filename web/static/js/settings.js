// @ts-check
/** Pages of settings: rows that are added and removed, expressions tried while they are typed, skills, uploads. */

const TRY_AFTER_MS = 300;

/** @param {HTMLElement} list */
function nextNumber(list) {
  const prefix = `${list.dataset.name}.`;
  const numbers = [...list.querySelectorAll("[name]")].map((one) => Number((one.getAttribute("name") ?? "").slice(prefix.length).split(".")[0]));
  return Math.max(-1, ...numbers.filter(Number.isInteger)) + 1;
}

/** @param {HTMLElement} list */
function addRow(list) {
  const last = list.lastElementChild;
  if (!last) return;
  const row = /** @type {HTMLElement} */ (last.cloneNode(true));
  const number = nextNumber(list);
  const old = new RegExp(`(${list.dataset.name}\\.)\\d+`);
  for (const one of row.querySelectorAll("[id],[name],[for],[aria-describedby]")) {
    for (const name of ["id", "name", "for"]) {
      const value = one.getAttribute(name);
      if (value) one.setAttribute(name, value.replace(old, `$1${number}`));
    }
    one.removeAttribute("aria-invalid");
    one.removeAttribute("aria-describedby");
    if (one instanceof HTMLInputElement) one.value = "";
    if (one instanceof HTMLSelectElement) one.selectedIndex = 0;
  }
  for (const one of row.querySelectorAll(".field-problem")) one.remove();
  for (const one of row.querySelectorAll(".tried")) one.replaceChildren();
  list.append(row);
  /** @type {HTMLElement|null} */ (row.querySelector("input, select"))?.focus();
}

/** @param {Element} button */
function dropRow(button) {
  const row = /** @type {HTMLElement|null} */ (button.closest(".row"));
  const list = /** @type {HTMLElement|null} */ (row?.parentElement);
  if (!row || !list) return;
  const beside = /** @type {HTMLElement|null} */ (row.nextElementSibling ?? row.previousElementSibling);
  if (!beside) addRow(list);
  row.remove();
  /** @type {HTMLElement|null} */ ((beside ?? list.lastElementChild)?.querySelector("input, select"))?.focus();
}

/** @type {WeakMap<Element, number>} */
const timers = new WeakMap();

/** @param {HTMLInputElement} field */
function tryLater(field) {
  window.clearTimeout(timers.get(field));
  timers.set(field, window.setTimeout(() => void tryNow(field), TRY_AFTER_MS));
}

/** A part of the page as the server drew it. @param {Element} place @param {string} drawn */
function show(place, drawn) {
  place.replaceChildren(...new DOMParser().parseFromString(drawn, "text/html").body.childNodes);
}

/** @param {HTMLInputElement} field */
async function tryNow(field) {
  const place = field.parentElement?.querySelector(".tried");
  const given = /** @type {HTMLInputElement|null} */ (document.querySelector("[data-given]"))?.value ?? "";
  if (!place) return;
  const asked = field.value;
  const query = new URLSearchParams({ text: asked, queue: field.dataset.try ?? "", given });
  const answer = await fetch(`/settings/try?${query}`, { headers: { "HX-Request": "true" } });
  // Somebody typed on meanwhile: a newer answer is on its way.
  if (!answer.ok || field.value !== asked) return;
  show(place, await answer.text());
  // What was said about the text before.
  field.parentElement?.querySelector(":scope > .field-problem")?.remove();
  field.removeAttribute("aria-describedby");
  if (place.querySelector(".trial-wrong")) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

/** @param {HTMLInputElement} field @param {HTMLElement} table */
async function saveSkill(field, table) {
  const body = new URLSearchParams({ agent: field.dataset.agent ?? "", skill: field.dataset.skill ?? "", level: field.value, csrf: table.dataset.csrf ?? "" });
  const answer = await fetch("/settings/skills", { method: "POST", body, headers: { "HX-Request": "true" } });
  const said = document.getElementById("skill-said");
  field.classList.toggle("is-saved", answer.ok);
  if (answer.ok) field.removeAttribute("aria-invalid");
  else field.setAttribute("aria-invalid", "true");
  if (!said) return;
  show(said, await answer.text());
  said.classList.toggle("warning", !answer.ok);
}

/** @param {string} path @param {File|undefined} file @param {string} token */
async function upload(path, file, token) {
  const said = document.getElementById("prompt-said");
  if (!file || !said) return;
  const answer = await fetch(path, { method: "PUT", body: file, headers: { "X-CSRF-Token": token, "Content-Type": "audio/wav" }, redirect: "manual" });
  if (answer.type === "opaqueredirect") location.reload();
  else if (answer.status === 422) said.textContent = await answer.text();
  else said.textContent = `${answer.status}`;
}

for (const button of document.querySelectorAll("[data-add], [data-drop]")) /** @type {HTMLElement} */ (button).hidden = false;

document.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  const adding = /** @type {HTMLElement|null} */ (target.closest("[data-add]"));
  const list = adding && document.querySelector(`[data-name="${adding.dataset.add}"]`);
  if (list) addRow(/** @type {HTMLElement} */ (list));
  const dropping = target.closest("[data-drop]");
  if (dropping) dropRow(dropping);
});

document.addEventListener("input", (event) => {
  const field = /** @type {HTMLInputElement} */ (event.target);
  if (field.dataset.try !== undefined) tryLater(field);
  if (field.dataset.given !== undefined) {
    for (const one of document.querySelectorAll("[data-try]")) if (/** @type {HTMLInputElement} */ (one).value) tryLater(/** @type {HTMLInputElement} */ (one));
  }
});

document.addEventListener("change", (event) => {
  const field = /** @type {HTMLInputElement} */ (event.target);
  const table = /** @type {HTMLElement|null} */ (field.closest("[data-matrix]"));
  if (table) void saveSkill(field, table);
  const prompts = /** @type {HTMLElement|null} */ (field.closest("[data-prompts]"));
  if (prompts && field.dataset.upload) void upload(field.dataset.upload, field.files?.[0], prompts.dataset.csrf ?? "");
});

document.querySelector("[data-new-prompt]")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const value = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (document.getElementById(id));
  const token = /** @type {HTMLMetaElement} */ (document.querySelector('meta[name="csrf-token"]')).content;
  void upload(`/settings/prompts/${value("new-tag").value}/${value("new-prompt").value}`, value("new-file").files?.[0], token);
});
