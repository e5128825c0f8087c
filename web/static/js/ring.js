// @ts-check
/** A call announces itself: by sound, in the tab's title, and outside the browser when the page is not in front. */
import { t } from "./messages.js";

const RING_S = 1.6;
const PAUSE_S = 2.4;
const NOTES_HZ = [659.25, 783.99, 987.77];
const VOLUME = 0.18;
const TITLE_MS = 1000;

/** Events: `audible` (the browser lets the page make sound now, or no longer). */
export class Ring extends EventTarget {
  /** @type {AudioContext|null} */ #context = null;
  /** @type {GainNode|null} */ #voice = null;
  /** @type {ReturnType<typeof setInterval>|undefined} */ #repeat;
  /** @type {ReturnType<typeof setInterval>|undefined} */ #flash;
  /** @type {Notification|null} */ #notification = null;
  #title = document.title;
  isRinging = false;
  /** A desk phone rings by itself: the page then only shows it. */
  hasSound = true;

  /** @param {string} deviceId where it rings; empty: the browser's default */
  constructor(deviceId) {
    super();
    this.deviceId = deviceId;
    // Browsers let a page make sound only after the person has touched it.
    for (const gesture of ["pointerdown", "keydown"]) addEventListener(gesture, () => this.#prepare(), { capture: true });
    this.#prepare();
  }

  /** Has the browser let the page make sound? */
  get isAudible() {
    return this.#context?.state === "running";
  }

  /** @param {string} deviceId */
  choose(deviceId) {
    this.deviceId = deviceId;
    this.#direct();
  }

  /** @param {string} who @param {string} queue */
  start(who, queue) {
    if (this.isRinging) return;
    this.isRinging = true;
    this.#title = document.title;
    if (this.hasSound) {
      this.#prepare();
      this.#peal();
      this.#repeat = setInterval(() => this.#peal(), (RING_S + PAUSE_S) * 1000);
    }
    const ringing = `☎ ${who}${queue ? ` – ${queue}` : ""}`;
    document.title = ringing;
    this.#flash = setInterval(() => (document.title = document.title === ringing ? this.#title : ringing), TITLE_MS);
    if (document.hidden && window.Notification?.permission === "granted") {
      this.#notification = new Notification(t("Incoming call"), { body: `${who}\n${queue}`, tag: "callfloor-ring", requireInteraction: true });
      this.#notification.onclick = () => window.focus();
    }
  }

  stop() {
    if (!this.isRinging) return;
    this.isRinging = false;
    this.silence();
    clearInterval(this.#flash);
    document.title = this.#title;
    this.#notification?.close();
    this.#notification = null;
  }

  /** No more sound: the person has heard it. */
  silence() {
    clearInterval(this.#repeat);
    this.#voice?.gain.cancelScheduledValues(0);
    this.#voice?.gain.setValueAtTime(0, this.#context?.currentTime ?? 0);
  }

  /** One ring, so that a person can hear which device it comes from. */
  test() {
    this.#prepare();
    this.#peal();
  }

  #prepare() {
    if (!this.#context) {
      this.#context = new AudioContext();
      this.#context.onstatechange = () => this.dispatchEvent(new Event("audible"));
      this.#direct();
    }
    if (this.#context.state === "suspended") void this.#context.resume();
  }

  #direct() {
    const context = /** @type {(AudioContext & {setSinkId?: (id: string) => Promise<void>})|null} */ (this.#context);
    context?.setSinkId?.(this.deviceId).catch(() => {
      // The device was unplugged: the default rings instead.
      this.deviceId = "";
    });
  }

  #peal() {
    const context = this.#context;
    if (!context || context.state !== "running") return;
    const voice = context.createGain();
    voice.connect(context.destination);
    this.#voice = voice;
    const start = context.currentTime;
    voice.gain.setValueAtTime(0, start);
    const step = RING_S / 8;
    for (let beat = 0; beat < 8; beat += 1) {
      const at = start + beat * step;
      voice.gain.linearRampToValueAtTime(VOLUME, at + 0.02);
      voice.gain.exponentialRampToValueAtTime(VOLUME / 8, at + step * 0.9);
      const tone = context.createOscillator();
      tone.type = "triangle";
      tone.frequency.value = NOTES_HZ[beat % NOTES_HZ.length];
      tone.connect(voice);
      tone.start(at);
      tone.stop(at + step);
    }
    voice.gain.linearRampToValueAtTime(0, start + RING_S);
  }
}
