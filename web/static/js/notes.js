// @ts-check
/** The note of one interaction: saves itself while it is written. */
import { interactionPath } from "./api.js";
import { h, setText } from "./dom.js";
import { t } from "./messages.js";

const LONGEST = 20000;

export class Note {
  /** @param {string} interaction @param {import("./drafts.js").Drafts} drafts */
  constructor(interaction, drafts) {
    this.key = `${interaction}/note`;
    this.path = interactionPath(interaction, "/note");
    this.drafts = drafts;
    this.field = /** @type {HTMLTextAreaElement} */ (
      h("textarea", { id: `note-${crypto.randomUUID()}`, class: "note-field", maxlength: LONGEST, placeholder: t("What was it about? Saved as you type."), spellcheck: "true" })
    );
    this.status = h("span", { class: "note-status", "aria-live": "off" });
    this.element = h(
      "div",
      { class: "memo" },
      h("div", { class: "note-head" }, h("label", { for: this.field.id }, t("Note")), this.status, h("kbd", { "aria-hidden": "true" }, "E")),
      this.field,
    );
    this.field.addEventListener("input", () => drafts.put(this.key, this.path, { text: this.field.value }));
    drafts.addEventListener("state", (event) => {
      const { key, state } = /** @type {CustomEvent} */ (event).detail;
      if (key === this.key) this.#tell(state);
    });
  }

  /** What the server has. A draft that it has not confirmed yet is newer. @param {string} text */
  adopt(text) {
    const draft = this.drafts.get(this.key);
    if (draft) {
      const own = /** @type {{text: string}} */ (draft.body).text;
      if (this.field.value !== own) this.field.value = own;
      this.#tell(draft.isRefused ? "refused" : "saving");
    } else if (this.field.value !== text && document.activeElement !== this.field) {
      this.field.value = text;
    }
  }

  /** @param {import("./drafts.js").DraftState} state */
  #tell(state) {
    this.element.dataset.save = state;
    setText(
      this.status,
      {
        saved: t("Saved"),
        saving: t("Saving…"),
        waiting: t("Kept here, will be saved when the server answers"),
        refused: t("The server refused this note; it is kept here"),
      }[state],
    );
  }
}
