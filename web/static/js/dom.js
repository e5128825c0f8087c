// @ts-check
/** Building the page. Data only ever becomes text or an attribute, never markup. */

/**
 * @param {string} tag
 * @param {Record<string, any>} [props] `class`, `data` (dataset), `on` (listeners); the rest are attributes;
 *   false, null and undefined leave an attribute out, true writes it empty.
 * @param {...(Node|string|number|null|false|undefined)} children
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "on") for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false) element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

/** Writes only what changed: a screen reader is not told the same thing twice. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Replaces the children of a part only when what it shows has changed.
 * @param {HTMLElement} element @param {unknown} shown @param {() => (Node|string)[]} build */
export function renderWhenChanged(element, shown, build) {
  const print = JSON.stringify(shown) ?? "";
  if (element.dataset.shown === print) return;
  element.dataset.shown = print;
  element.replaceChildren(...build());
}

/** A button with its key printed on it. @param {string} label @param {{key?: string, class?: string, on?: () => void, [attribute: string]: any}} [options] */
export function button(label, options = {}) {
  const { key, on, ...rest } = options;
  return h(
    "button",
    { type: "button", "aria-keyshortcuts": key ? key.replace("Ctrl", "Control") : null, on: on ? { click: on } : {}, ...rest },
    h("span", { class: "label" }, label),
    key ? h("kbd", { "aria-hidden": "true" }, key) : null,
  );
}

/** @template T @param {string} id @param {T} otherwise @returns {T} what the server wrote into a JSON script element */
export function embedded(id, otherwise) {
  const text = document.getElementById(id)?.textContent;
  return text ? JSON.parse(text) : otherwise;
}

/** Is the person typing into this? @param {EventTarget|null} target */
export function isTextField(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !["checkbox", "radio", "button", "submit", "range"].includes(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}
