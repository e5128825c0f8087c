// @ts-check
/** May calls come, and if not, why: one sentence at the top of the page, and what the phone is worth right now. */
import { byId, setText } from "./dom.js";
import { t } from "./messages.js";
import { word } from "./words.js";

const METER_MS = 80;
const SETTLED_MS = 2500;

export class Health {
  isLoggedOut = false;
  /** @type {import("./types.js").DeskHealth} */ desk = { is_fresh: true, why: "" };

  /**
   * @param {import("./socket.js").DeskSocket} socket
   * @param {import("./phone.js").Phone|null} phone
   * @param {import("./microphone.js").Microphone|null} microphone
   * @param {import("./ring.js").Ring} ring
   */
  constructor(socket, phone, microphone, ring) {
    this.socket = socket;
    this.phone = phone;
    this.microphone = microphone;
    this.ring = ring;
    this.isSettled = false;
    setTimeout(() => {
      this.isSettled = true;
      this.draw();
    }, SETTLED_MS);
    this.banner = byId("banner");
    this.hasConnected = false;
    const meters = /** @type {HTMLMeterElement[]} */ ([byId("mic-level"), byId("devices-level")]);
    if (microphone) {
      setInterval(() => {
        if (document.hidden) return;
        const level = phone?.call?.isMuted ? 0 : microphone.level();
        for (const meter of meters) meter.value = level;
      }, METER_MS);
    }
    for (const part of [byId("mic-level"), byId("open-devices")]) part.hidden = !microphone;
    this.draw();
  }

  /** The sentence to show, or empty when calls can come. */
  get problem() {
    if (this.isLoggedOut) return t("You are logged out. Log in again to get calls.");
    if (!this.socket.isUp) {
      if (!this.hasConnected) return t("Connecting to the server…");
      if (this.phone?.state === "registered") return t("No connection to the server: a call may still ring here, without a card. What you write is kept here. Trying again…");
      return t("No connection to the server: you will not be offered calls. What you write is kept here. Trying again…");
    }
    if (!this.socket.isAnswering) return t("The server does not answer just now. A talk goes on, and what you write is kept here.");
    const { microphone, phone } = this;
    if (microphone?.state === "lost" && microphone.why === "denied") {
      return t("The browser does not allow the microphone: you will not be offered calls. Allow it beside the page's address.");
    }
    if (microphone?.state === "lost" && microphone.why === "muted") return t("The microphone is switched off in the system or on the headset: callers cannot hear you.");
    if (microphone?.state === "lost" && phone?.call?.phase === "up") return t("No microphone: the caller cannot hear you. Plug in a headset.");
    if (microphone?.state === "lost") return t("No microphone: you will not be offered calls. Plug in a headset.");
    if (microphone?.state === "unknown" && this.isSettled) return t("Allow the microphone when the browser asks: calls come only then.");
    if (phone?.isPathLost) return t("The network changed: you and the caller may not hear each other. Finding another way…");
    if (phone && phone.state !== "registered") return t("The phone is not connected: you will not be offered calls. Trying again…");
    if (!this.desk.is_fresh) return `${word("stale", this.desk.why)} ${t("You will not be offered calls.")}`;
    if (phone && this.isSettled && !this.ring.isAudible) return t("Click anywhere once, so that the browser lets calls ring aloud.");
    return "";
  }

  draw() {
    this.hasConnected ||= this.socket.isUp;
    const problem = this.problem;
    this.banner.hidden = !problem;
    const isCalm = !this.isLoggedOut && (!this.hasConnected || (this.socket.isUp && !this.socket.isAnswering));
    this.banner.dataset.kind = isCalm ? "waiting" : "problem";
    setText(byId("banner-text"), problem);
    byId("banner-login").hidden = !this.isLoggedOut;
    const place = byId("phone-status");
    const state = this.phone ? this.phone.state : "desk";
    place.dataset.phone = state;
    const words = { registered: t("Phone ready"), unregistered: t("Phone offline"), connecting: t("Phone connecting"), off: t("Phone off"), desk: t("Desk phone") };
    setText(byId("phone-text"), words[state]);
    this.drawQuality();
  }

  drawQuality() {
    const quality = this.phone?.quality;
    const place = byId("line-quality");
    place.hidden = !quality || this.phone?.call?.phase !== "up";
    if (!quality) return;
    place.dataset.quality = quality.word;
    setText(byId("line-quality-text"), word("quality", quality.word));
    const rtt = quality.rtt_ms === null ? "–" : String(quality.rtt_ms);
    place.title = t("Round trip {rtt} ms, jitter {jitter} ms, loss {loss} %", { rtt, jitter: quality.jitter_ms, loss: (quality.loss * 100).toFixed(1) });
  }
}
