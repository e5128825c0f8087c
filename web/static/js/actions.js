// @ts-check
/** What the buttons and keys do. The softphone is commanded at once; everything else is asked of the server. */
import { ApiError, call, interactionPath } from "./api.js";
import { t } from "./messages.js";
import { UNCARDED, WORK } from "./pops.js";
import { refusal } from "./words.js";

/**
 * @typedef {{pops: import("./pops.js").Pops, phone: import("./phone.js").Phone|null, drafts: import("./drafts.js").Drafts,
 *   notices: import("./notices.js").Notices, transfer: import("./transfer.js").TransferDialog,
 *   work: import("./work.js").Work, tabs: import("./tabs.js").Tabs, ring: import("./ring.js").Ring}} Parts
 */

export class DeskActions {
  #wantsAnswer = false;

  /** @param {Parts} parts */
  constructor(parts) {
    this.parts = parts;
    /** @type {Record<string, (value?: any) => void|Promise<unknown>>} */
    this.verbs = {
      answer: () => this.#answer(),
      hang_up: () => this.#hangUp(),
      mute: () => parts.phone?.setMuted(!parts.phone.call?.isMuted),
      hold: () => parts.phone?.setHeld(!parts.phone.call?.isHeld),
      digit: (digit) => parts.phone?.sendDigit(digit),
      transfer: () => this.#openTransfer(),
      send_transfer: (detail) => this.#onLive((live) => this.#post(interactionPath(live, "/transfer"), detail)),
      complete_transfer: () => this.#onLive((live) => this.#post(interactionPath(live, "/transfer/complete"))),
      confer: () => this.#onLive((live) => this.#post(interactionPath(live, "/transfer/conference"))),
      read_message: (id) => this.#post(`/api/desk/messages/${encodeURIComponent(id)}/read`),
      spy: ({ interaction, agent, mode }) => this.#post(`/api/floor/calls/${encodeURIComponent(interaction)}/listening`, { agent, mode }),
      end_spying: ({ interaction }) => this.#post(`/api/floor/calls/${encodeURIComponent(interaction)}/listening/end`),
      cancel_transfer: () => this.#onLive((live) => this.#post(interactionPath(live, "/transfer/cancel"))),
      recording: () => this.#onLive((live, card) => this.#post(interactionPath(live, "/recording"), { is_paused: card.pop.recording !== "paused" })),
      objection: () => this.#onLive((live) => this.#post(interactionPath(live, "/recording/objection"))),
      choose_customer: ({ interaction, party }) => this.#ask("PUT", interactionPath(interaction, "/customer"), { party }),
      open_customer: (party) => {
        parts.tabs.choose(WORK);
        return parts.work.openCustomer(party);
      },
      state: (wanted) => this.#post("/api/desk/state", wanted),
      done: () => this.#finish(),
    };
  }

  /** @param {string} verb @param {any} [value] */
  do(verb, value) {
    void this.verbs[verb](value);
  }

  /** An answer that was wished for before the phone rang is given when it rings. */
  phoneChanged() {
    const { phone, pops } = this.parts;
    if (!pops.live) this.#wantsAnswer = false;
    if (this.#wantsAnswer && phone?.call?.phase === "ringing" && pops.live) {
      this.#wantsAnswer = false;
      void phone.answer();
    }
  }

  /** The phone rings and no card is there yet. @returns {boolean} whether there was a call to answer */
  answerPhone() {
    const { phone, pops, ring } = this.parts;
    if (phone?.call?.phase !== "ringing" || pops.live?.hasRecord) return false;
    ring.silence();
    void phone.answer();
    return true;
  }

  #answer() {
    const { phone, pops, ring, tabs } = this.parts;
    const ringing = pops.ringing;
    if (!phone || !ringing) return;
    tabs.choose(ringing.pop.interaction);
    ring.silence();
    if (phone.call) void phone.answer();
    else this.#wantsAnswer = true;
    ringing.note.field.focus({ preventScroll: true });
  }

  #hangUp() {
    const { phone, pops } = this.parts;
    this.#wantsAnswer = false;
    if (phone?.call) return phone.hangUp();
    const live = pops.live;
    if (live?.hasRecord && live.pop.phase !== "ringing") return this.#post(interactionPath(live.pop.interaction, "/hang-up"));
    return undefined;
  }

  #openTransfer() {
    const card = this.parts.pops.live;
    if (card?.hasRecord && card.pop.phase !== "ringing" && !card.pop.transfer) return this.parts.transfer.open();
    return undefined;
  }

  /** @param {(interaction: string, card: import("./card.js").Card) => void|Promise<unknown>} then */
  #onLive(then) {
    const card = this.parts.pops.live;
    return card && card.pop.interaction !== UNCARDED ? then(card.pop.interaction, card) : undefined;
  }

  async #finish() {
    const { pops, drafts, tabs } = this.parts;
    const card = pops.active?.pop.phase === "wrap_up" ? pops.active : [...pops.cards.values()].find((one) => one.pop.phase === "wrap_up");
    if (!card) return;
    if (!card.isReadyToFinish()) {
      tabs.choose(card.pop.interaction);
      this.parts.notices.show(t("No outcome chosen yet. Choose one, or press Done again."));
      card.outcome?.remind();
      return;
    }
    await drafts.flush();
    await this.#post("/api/desk/wrap-up/finish");
  }

  /** @param {string} path @param {object} [body] */
  #post(path, body = {}) {
    return this.#ask("POST", path, body);
  }

  /** @param {string} method @param {string} path @param {object} body */
  async #ask(method, path, body) {
    try {
      await call(method, path, body);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.parts.notices.show(refusal(error), { kind: "error" });
    }
  }
}
