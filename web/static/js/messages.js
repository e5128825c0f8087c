// @ts-check
/** Words of the page in the person's language, by their English text; all of them are listed in web/js_messages.py. */
import { embedded } from "./dom.js";

/** @type {Record<string, string>} */
const catalogue = embedded("messages", {});

/** @param {string} text English @param {Record<string, string|number>} [values] filled in for `{name}` */
export function t(text, values = {}) {
  return (catalogue[text] || text).replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}
