// @ts-check
/** What every page has: the theme switch and the language menu. */
import { localiseTimes } from "./time.js";

const root = document.documentElement;

document.getElementById("theme-toggle")?.addEventListener("click", () => {
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("callfloor.theme", root.dataset.theme);
});

const language = /** @type {HTMLSelectElement|null} */ (document.getElementById("language"));
language?.addEventListener("change", () => language.form?.requestSubmit());

localiseTimes(document, Date.now() / 1000);
document.addEventListener("htmx:after:swap", () => localiseTimes(document, Date.now() / 1000));
