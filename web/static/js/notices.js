// @ts-check
/** What a person should see and hear of: short notices, and the live regions that a screen reader speaks. */
import { byId, h, setText } from "./dom.js";
import { t } from "./messages.js";

const SHOWN_MS = 7000;
const KEPT = 4;

export class Notices {
  constructor() {
    this.list = byId("notices");
    this.urgent = byId("live-urgent");
    this.calm = byId("live-calm");
  }

  /** @param {string} text @param {{kind?: "info"|"warning"|"error", stays?: boolean}} [options] */
  show(text, { kind = "info", stays = false } = {}) {
    const close = h("button", { type: "button", class: "quiet", "aria-label": t("Close"), on: { click: () => notice.remove() } }, "×");
    const notice = h("li", { class: `notice notice-${kind}` }, h("span", {}, text), close);
    this.list.prepend(notice);
    while (this.list.children.length > KEPT) this.list.lastElementChild?.remove();
    if (!stays) setTimeout(() => notice.remove(), SHOWN_MS);
    this.say(text);
  }

  /** Spoken at once, over whatever is being read. @param {string} text */
  sayNow(text) {
    setText(this.urgent, text);
  }

  /** Spoken when the reader comes to it. @param {string} text */
  say(text) {
    setText(this.calm, text);
  }
}
