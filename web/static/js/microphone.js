// @ts-check
/**
 * The microphone is held for the whole shift: that it is gone is known when it goes, not when a customer says "hello?".
 */

const RETRY_MS = 3000;
const LOST_NAMES = new Set(["NotAllowedError", "NotFoundError", "NotReadableError", "OverconstrainedError", "AbortError", "SecurityError"]);

/** @param {string} kind `audioinput` or `audiooutput` @returns {Promise<MediaDeviceInfo[]>} */
export async function devices(kind) {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return all.filter((device) => device.kind === kind && device.deviceId);
}

/** Events: `state`, `stream` (a new stream replaces the old one). */
export class Microphone extends EventTarget {
  /** @type {MediaStream|null} */ stream = null;
  /** @type {"ok"|"lost"|"unknown"} */ state = "unknown";
  /** @type {""|"denied"|"missing"|"muted"} */ why = "";
  /** @type {AudioContext|null} */ #context = null;
  /** @type {AnalyserNode|null} */ #analyser = null;
  #samples = new Float32Array(512);
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #retry;
  #isWanted = false;
  /** @type {Promise<MediaStream|null>|null} */ #opening = null;

  /** @param {string} deviceId empty: the browser's default */
  constructor(deviceId) {
    super();
    this.deviceId = deviceId;
    for (const gesture of ["pointerdown", "keydown"]) addEventListener(gesture, () => void this.#context?.resume(), { capture: true });
  }

  /** Asks for the microphone and keeps it. @returns {Promise<MediaStream|null>} */
  open() {
    if (!this.#isWanted) this.#watch();
    this.#isWanted = true;
    this.#opening ??= this.#acquire().finally(() => (this.#opening = null));
    return this.#opening;
  }

  close() {
    this.#isWanted = false;
    clearTimeout(this.#retry);
    this.#let();
    this.#become("unknown", "");
  }

  /** @param {string} deviceId */
  async choose(deviceId) {
    this.deviceId = deviceId;
    this.#let();
    return this.open();
  }

  /** The input level, 0–1, loud speech near 1. */
  level() {
    if (!this.#analyser) return 0;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const sample of this.#samples) sum += sample * sample;
    const decibels = 10 * Math.log10(sum / this.#samples.length + 1e-9);
    return Math.min(1, Math.max(0, (decibels + 60) / 50));
  }

  async #acquire() {
    clearTimeout(this.#retry);
    if (this.stream?.getAudioTracks()[0]?.readyState === "live" && this.state === "ok") return this.stream;
    try {
      const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
      const wanted = this.deviceId ? { ...audio, deviceId: { ideal: this.deviceId } } : audio;
      const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
      this.#adopt(stream);
      return stream;
    } catch (error) {
      const name = error instanceof Error ? error.name : "";
      if (!LOST_NAMES.has(name) && !(error instanceof TypeError)) throw error;
      this.#let();
      this.#become("lost", name === "NotAllowedError" || name === "SecurityError" ? "denied" : "missing");
      this.#again();
      return null;
    }
  }

  /** @param {MediaStream} stream */
  #adopt(stream) {
    this.#let();
    this.stream = stream;
    const [track] = stream.getAudioTracks();
    track.onended = () => {
      this.#become("lost", "missing");
      this.#again(0);
    };
    track.onmute = () => this.#become("lost", "muted");
    track.onunmute = () => this.#become("ok", "");
    this.#context ??= new AudioContext();
    void this.#context.resume();
    this.#analyser = this.#context.createAnalyser();
    this.#analyser.fftSize = this.#samples.length;
    this.#context.createMediaStreamSource(stream).connect(this.#analyser);
    this.#become(track.muted ? "lost" : "ok", track.muted ? "muted" : "");
    this.dispatchEvent(new Event("stream"));
  }

  #let() {
    for (const track of this.stream?.getTracks() ?? []) {
      track.onended = track.onmute = track.onunmute = null;
      track.stop();
    }
    this.stream = null;
    this.#analyser = null;
  }

  #again(delay_ms = RETRY_MS) {
    clearTimeout(this.#retry);
    if (this.#isWanted) this.#retry = setTimeout(() => this.open(), delay_ms);
  }

  #watch() {
    navigator.mediaDevices?.addEventListener("devicechange", () => {
      if (this.#isWanted && this.state === "lost") this.#again(0);
    });
    navigator.permissions
      ?.query({ name: /** @type {PermissionName} */ ("microphone") })
      .then((permission) => {
        permission.onchange = () => {
          if (permission.state === "denied") {
            this.#let();
            this.#become("lost", "denied");
          } else if (this.#isWanted) this.#again(0);
        };
      })
      .catch((/** @type {unknown} */ error) => {
        // A browser that cannot be asked about the microphone still tells us when it is refused.
        if (!(error instanceof TypeError)) throw error;
      });
  }

  /** @param {"ok"|"lost"|"unknown"} state @param {""|"denied"|"missing"|"muted"} why */
  #become(state, why) {
    if (this.state === state && this.why === why) return;
    this.state = state;
    this.why = why;
    this.dispatchEvent(new Event("state"));
  }
}
