// @ts-check
/**
 * The softphone: registers at the PBX over SIP over WebSocket, is rung, talks. It never dials and follows no transfer
 * asked for by the other side: who talks to whom is decided by the server.
 */
import { judge, sampleOf } from "./quality.js";

const HOLD_RETRY_MS = 100;
const STATS_MS = 2000;
const GATHER_MS = 700;
/** A path that comes back by itself does so within that time; the PBX gives a silent phone up after five seconds. */
const BROKEN_MS = 1000;
const BUSY_HERE = 486;
const RECOVERY_S = { connection_recovery_min_interval: 1, connection_recovery_max_interval: 15 };

/**
 * @typedef {{number: string, name: string, phase: "ringing"|"connecting"|"up", isMuted: boolean, isHeld: boolean, sinceMs: number}} PhoneCall
 */

/** Events: `registration`, `call` (it changed or ended), `quality`, `path` (the audio's way), `lost` (the connection failed again), `refused` (the PBX does not take the password). */
export class Phone extends EventTarget {
  /** @type {"off"|"connecting"|"registered"|"unregistered"} */ state = "off";
  /** @type {PhoneCall|null} */ call = null;
  /** @type {import("./quality.js").Quality|null} */ quality = null;
  /** In a row, of either kind. */ failures = 0;
  /** In a row: times that the PBX did not take the password. */ refusals = 0;
  /** The audio finds no way to the PBX: the network changed. */ isPathLost = false;
  /** The line was cut during this call, and the PBX does not know yet where to say goodbye. */ isLineDoubtful = false;
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #mending;
  /** @type {any} */ #library = null;
  /** @type {any} */ #ua = null;
  /** @type {any} */ #line = null;
  /** @type {any} */ #session = null;
  /** @type {import("./quality.js").Sample|null} */ #sample = null;
  /** @type {ReturnType<typeof setInterval>|undefined} */ #stats;

  /**
   * @param {import("./types.js").PhoneAccount} account
   * @param {import("./microphone.js").Microphone} microphone
   * @param {HTMLAudioElement} speaker
   */
  constructor(account, microphone, speaker) {
    super();
    this.account = account;
    this.microphone = microphone;
    this.speaker = speaker;
    microphone.addEventListener("stream", () => this.#replaceTrack());
  }

  async start() {
    if (this.#ua) return;
    this.#library ??= (await import("../vendor/jssip.js")).default;
    const address = new URL(this.account.ws_url, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.#line = new this.#library.WebSocketInterface(address.href);
    const ua = new this.#library.UA({
      sockets: [this.#line],
      uri: this.account.uri,
      authorization_user: this.account.username,
      password: this.account.password,
      display_name: this.account.display_name,
      user_agent: "Callfloor",
      session_timers: false,
      register_expires: 120,
      no_answer_timeout: 600,
      ...RECOVERY_S,
    });
    this.#ua = ua;
    ua.on("registered", () => this.#ua === ua && this.#returned());
    ua.on("unregistered", () => this.#ua === ua && this.#become("unregistered"));
    ua.on("registrationFailed", (/** @type {any} */ { response }) => this.#ua === ua && this.#failed(response ? "refused" : "lost"));
    ua.on("disconnected", () => this.#ua === ua && this.#cut());
    ua.on("newRTCSession", (/** @type {any} */ { originator, session }) => originator === "remote" && this.#ua === ua && this.#rung(session));
    this.#become("connecting");
    ua.start();
  }

  /** Gives the phone up to another tab. A caller is not said goodbye to: the server, or the PBX without it, brings them there. */
  stop() {
    if (this.#session) this.#line.disconnect();
    this.#ua?.stop();
    this.#ua = null;
    this.#become("off");
  }

  /** @param {import("./types.js").PhoneAccount} account takes effect at once; a call keeps the line that it has */
  async renew(account) {
    this.account = account;
    if (this.call && this.#ua) {
      this.#ua.set("password", account.password);
      this.#ua.register();
      return;
    }
    this.#ua?.stop();
    this.#ua = null;
    await this.start();
  }

  async answer() {
    const session = this.#session;
    if (!session || this.call?.phase !== "ringing") return;
    this.#change({ phase: "connecting" });
    const stream = await this.microphone.open();
    if (session !== this.#session) return;
    if (!stream) return this.#change({ phase: "ringing" });
    for (const track of stream.getAudioTracks()) track.enabled = true;
    session.answer({ mediaStream: stream, pcConfig: { iceServers: this.account.ice_servers ?? [] } });
  }

  /** Declines a ringing call or ends one in talk. */
  hangUp() {
    if (!this.#session) return;
    if (this.call?.phase === "ringing") this.#session.terminate({ status_code: BUSY_HERE });
    else this.#session.terminate();
  }

  /** @param {boolean} isMuted */
  setMuted(isMuted) {
    if (this.call?.phase !== "up") return;
    if (isMuted) this.#session.mute({ audio: true });
    else this.#session.unmute({ audio: true });
  }

  /** @param {boolean} isHeld */
  setHeld(isHeld) {
    if (this.call?.phase !== "up") return;
    const session = this.#session;
    // While the last offer of this call is still being settled it takes no new one: ask again until it does.
    const ask = () => {
      const isTaken = isHeld ? session.hold() : session.unhold();
      if (!isTaken && session === this.#session && session.isEstablished() && session.isOnHold().local !== isHeld) setTimeout(ask, HOLD_RETRY_MS);
    };
    ask();
  }

  /** @param {string} digit one of 0–9, * and # */
  sendDigit(digit) {
    if (this.call?.phase === "up") this.#session.sendDTMF(digit, { transportType: "RFC2833", duration: 160, interToneGap: 80 });
  }

  /** @param {string} deviceId where the caller is heard */
  async chooseSpeaker(deviceId) {
    const speaker = /** @type {HTMLAudioElement & {setSinkId?: (id: string) => Promise<void>}} */ (this.speaker);
    await speaker.setSinkId?.(deviceId);
  }

  /** @param {any} session */
  #rung(session) {
    if (this.#session) {
      session.terminate({ status_code: BUSY_HERE });
      return;
    }
    this.#session = session;
    const from = session.remote_identity;
    this.call = {
      number: String(from.uri.user ?? "").slice(0, 40),
      name: String(from.display_name ?? "").slice(0, 80),
      phase: "ringing",
      isMuted: false,
      isHeld: false,
      sinceMs: Date.now(),
    };
    session.on("peerconnection", (/** @type {any} */ { peerconnection }) => this.#listen(peerconnection));
    session.on("icecandidate", (/** @type {any} */ { ready }) => setTimeout(ready, GATHER_MS));
    session.on("confirmed", () => this.#change({ phase: "up", sinceMs: Date.now() }));
    session.on("muted", () => this.#change({ isMuted: true }));
    session.on("unmuted", () => this.#change({ isMuted: false }));
    session.on("hold", (/** @type {any} */ { originator }) => originator === "local" && this.#change({ isHeld: true }));
    session.on("unhold", (/** @type {any} */ { originator }) => originator === "local" && this.#change({ isHeld: false }));
    session.on("refer", (/** @type {any} */ { reject }) => reject());
    session.on("ended", () => this.#over(session));
    session.on("failed", () => this.#over(session));
    this.dispatchEvent(new Event("call"));
  }

  /** @param {RTCPeerConnection} connection */
  #listen(connection) {
    connection.addEventListener("track", (event) => {
      this.speaker.srcObject = event.streams[0] ?? new MediaStream([event.track]);
      void this.speaker.play();
    });
    connection.addEventListener("iceconnectionstatechange", () => this.#watchPath(connection));
    this.#sample = null;
    clearInterval(this.#stats);
    this.#stats = setInterval(() => this.#measure(connection), STATS_MS);
  }

  /** @param {RTCPeerConnection} connection */
  #watchPath(connection) {
    if (connection !== this.#session?.connection) return;
    const isLost = ["disconnected", "failed"].includes(connection.iceConnectionState);
    clearTimeout(this.#mending);
    if (isLost) this.#mending = setTimeout(() => this.#mendPath(connection), BROKEN_MS);
    if (isLost === this.isPathLost) return;
    this.isPathLost = isLost;
    this.dispatchEvent(new Event("path"));
  }

  /** Another network has other addresses: offer them, as soon as the PBX can be asked. @param {RTCPeerConnection} connection */
  #mendPath(connection) {
    if (!this.isPathLost || connection !== this.#session?.connection) return;
    const isAsked = this.state === "registered" && this.#session.renegotiate({ rtcOfferConstraints: { iceRestart: true } });
    this.#mending = setTimeout(() => this.#mendPath(connection), isAsked ? 5 * BROKEN_MS : HOLD_RETRY_MS);
  }

  #cut() {
    this.isLineDoubtful = this.call?.phase === "up";
    this.#failed();
  }

  #returned() {
    this.#become("registered");
    if (this.isLineDoubtful) this.#tellLine(this.#session);
  }

  /** The audio went on while the line was away; the call's own messages are to come over the new line from now on. @param {any} session */
  #tellLine(session) {
    if (!this.isLineDoubtful || session !== this.#session || this.state !== "registered") return;
    const isAsked = session.renegotiate({}, () => session === this.#session && (this.isLineDoubtful = false));
    if (!isAsked) setTimeout(() => this.#tellLine(session), HOLD_RETRY_MS);
  }

  /** @param {RTCPeerConnection} connection */
  async #measure(connection) {
    if (this.call?.phase !== "up" || this.call.isHeld) {
      this.#sample = null;
      return;
    }
    const sample = sampleOf(await connection.getStats(), performance.now());
    if (!sample || !this.call) return;
    this.quality = judge(sample, this.#sample);
    this.#sample = sample;
    this.dispatchEvent(new Event("quality"));
  }

  /** @param {any} session */
  #over(session) {
    if (session !== this.#session) return;
    clearInterval(this.#stats);
    clearTimeout(this.#mending);
    this.isPathLost = false;
    this.isLineDoubtful = false;
    for (const track of this.microphone.stream?.getAudioTracks() ?? []) track.enabled = true;
    this.speaker.srcObject = null;
    this.#session = null;
    this.call = null;
    this.quality = null;
    this.dispatchEvent(new Event("call"));
  }

  async #replaceTrack() {
    const track = this.microphone.stream?.getAudioTracks()[0];
    const sender = this.#session?.connection?.getSenders().find((/** @type {RTCRtpSender} */ one) => one.track?.kind === "audio" || !one.track);
    if (!track || !sender) return;
    track.enabled = !this.call?.isMuted && !this.call?.isHeld;
    await sender.replaceTrack(track);
  }

  /** @param {Partial<PhoneCall>} change */
  #change(change) {
    if (!this.call) return;
    Object.assign(this.call, change);
    this.dispatchEvent(new Event("call"));
  }

  /** @param {"lost"|"refused"} how */
  #failed(how = "lost") {
    this.failures += 1;
    if (how === "refused") this.refusals += 1;
    this.#become("unregistered");
    this.dispatchEvent(new Event(how));
  }

  /** @param {Phone["state"]} state */
  #become(state) {
    if (state === "registered") this.failures = this.refusals = 0;
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new Event("registration"));
  }
}
