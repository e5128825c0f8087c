// @ts-check
/** Times are the server's. The page's clock only measures how long ago a message came. */

const locale = document.documentElement.lang || "en";
const KEPT_SAMPLES = 20;

export class ServerClock {
  /** @type {number[]} */ #offsets = [];

  /** The least delayed message tells the offset best, so the largest of the last few counts. @param {number} now Unix seconds */
  learn(now) {
    this.#offsets.push(now - Date.now() / 1000);
    if (this.#offsets.length > KEPT_SAMPLES) this.#offsets.shift();
  }

  /** @returns {number} Unix seconds on the server's clock */
  now() {
    return Date.now() / 1000 + (this.#offsets.length ? Math.max(...this.#offsets) : 0);
  }

  get offset_s() {
    return this.#offsets.length ? Math.max(...this.#offsets) : 0;
  }
}

/** 7 → "0:07", 3671 → "1:01:11". @param {number} seconds */
export function clockText(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = String(rest).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto", style: "short" });
const dayTime = new Intl.DateTimeFormat(locale, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const fullDay = new Intl.DateTimeFormat(locale, { year: "numeric", month: "short", day: "numeric" });
const exactTime = new Intl.DateTimeFormat(locale, { dateStyle: "short", timeStyle: "medium" });
const fullTime = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "short" });

/** How one would say it: minutes, hours, days ago; a date when it is long ago. @param {number} at @param {number} now */
export function agoText(at, now) {
  const seconds = now - at;
  if (seconds < 3600) return relative.format(-Math.max(0, Math.round(seconds / 60)), "minute");
  if (seconds < 86400) return relative.format(-Math.round(seconds / 3600), "hour");
  if (seconds < 7 * 86400) return relative.format(-Math.round(seconds / 86400), "day");
  return seconds < 300 * 86400 ? dayTime.format(at * 1000) : fullDay.format(at * 1000);
}

/** @param {number} at Unix seconds */
export function momentText(at) {
  return fullTime.format(at * 1000);
}

/** @param {string} day ISO date */
export function dayText(day) {
  const at = Date.parse(`${day}T12:00:00`);
  return Number.isNaN(at) ? day : fullDay.format(at);
}

/** A language by its own reader's name for it. @param {string} code */
export function languageText(code) {
  try {
    return new Intl.DisplayNames([locale], { type: "language" }).of(code.replace("_", "-")) ?? code;
  } catch (error) {
    if (error instanceof RangeError) return code;
    throw error;
  }
}

/** Server-rendered `<time datetime>` parts in the reader's own zone. @param {ParentNode} root @param {number} now */
export function localiseTimes(root, now) {
  for (const element of root.querySelectorAll("time[datetime]:not([data-done])")) {
    const at = Date.parse(element.getAttribute("datetime") ?? "") / 1000;
    if (Number.isNaN(at)) continue;
    element.textContent = element.hasAttribute("data-exact") ? exactTime.format(at * 1000) : agoText(at, now);
    element.setAttribute("title", momentText(at));
    element.setAttribute("data-done", "");
  }
}
