// @ts-check
/** The desk socket: reconnects, resumes by sequence number, learns the server's clock, beats. */

const SUBPROTOCOL = "callfloor.desk.1";
const BEAT_MS = 4000;
const STUCK_MS = 12000;
/** A beat is answered at once; a page that has no answer by then says so, long before the line is given up. */
const ANSWER_MS = 1800;
const FIRST_RETRY_S = 0.5;
const LAST_RETRY_S = 15;
const TAKEN_OVER = 4001;
const GAP = 4000;

/** Full jitter, so that a floor of pages does not return in one wave. @param {number} attempt @param {number} chance 0–1 */
export function retryDelay_s(attempt, chance) {
  return Math.min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** attempt) * (0.3 + 0.7 * chance);
}

/**
 * Events: `message` (detail: a message), `link` (detail: {isUp}), `answering` (it does again, or no longer does), `busy`, `taken_over`, `refused` (detail: attempts).
 */
export class DeskSocket extends EventTarget {
  /** @type {WebSocket|null} */ #socket = null;
  /** @type {Worker} */ #pulse;
  #attempt = 0;
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #retry;
  #isWanted = false;
  #stuckSince = 0;
  /** @type {string|null} */ epoch = null;
  lastSeq = 0;
  isUp = false;
  /** The line stands, and the last beat had its answer in time. */
  isAnswering = true;
  #unansweredSince = 0;
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #patience;

  /**
   * @param {string} url
   * @param {string} tab this tab's own name
   * @param {import("./time.js").ServerClock} clock
   * @param {() => {visible: boolean, phone: string, microphone: string}} status
   */
  constructor(url, tab, clock, status) {
    super();
    this.url = new URL(url, location.href);
    this.url.protocol = this.url.protocol.replace("http", "ws");
    this.tab = tab;
    this.clock = clock;
    this.status = status;
    // A hidden page's own timers may run once a minute; a worker's do not. A frozen page still falls silent.
    this.#pulse = new Worker(new URL("pulse.js", import.meta.url));
    this.#pulse.postMessage(BEAT_MS);
    this.#pulse.onmessage = () => this.beat();
    document.addEventListener("visibilitychange", () => this.beat());
    addEventListener("online", () => this.#isWanted && !this.isUp && this.open());
    addEventListener("pageshow", (event) => event.persisted && this.#isWanted && this.open());
  }

  /** @param {{takeOver?: boolean}} [options] */
  open({ takeOver = false } = {}) {
    clearTimeout(this.#retry);
    this.#isWanted = true;
    this.#drop();
    const socket = new WebSocket(this.url, [SUBPROTOCOL]);
    this.#socket = socket;
    socket.onopen = () => {
      this.#send({ type: "hello", tab: this.tab, epoch: this.epoch, last_seq: this.lastSeq, take_over: takeOver });
    };
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = (event) => this.#closed(event.code);
  }

  /** Closes and stays closed. */
  close() {
    this.#isWanted = false;
    clearTimeout(this.#retry);
    this.#drop();
    this.#setUp(false);
  }

  beat() {
    if (!this.isUp || !this.#socket) return;
    // Bytes that never leave mean a dead line that TCP has not noticed yet.
    if (this.#socket.bufferedAmount === 0) this.#stuckSince = 0;
    else if (!this.#stuckSince) this.#stuckSince = Date.now();
    else if (Date.now() - this.#stuckSince > STUCK_MS) return this.#lost();
    if (this.#unansweredSince && Date.now() - this.#unansweredSince > STUCK_MS) return this.#lost();
    this.#send({ type: "beat", seen: this.lastSeq, ...this.status() });
    this.#unansweredSince ||= Date.now();
    this.#patience ??= setTimeout(() => this.#setAnswering(false), ANSWER_MS);
  }

  /** @param {object} message */
  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** @param {any} message */
  #receive(message) {
    this.#setAnswering(true);
    if (message.type === "heard") return;
    if (message.type === "busy" || message.type === "taken_over") {
      this.close();
      this.dispatchEvent(new Event(message.type));
      return;
    }
    if (typeof message.now === "number") this.clock.learn(message.now);
    if (message.type === "welcome") {
      if (message.epoch !== this.epoch || !message.resumed) this.lastSeq = 0;
      this.epoch = message.epoch;
      this.#attempt = 0;
      this.#setUp(true);
      this.beat();
      return;
    }
    if (message.type === "snapshot") this.lastSeq = message.seq;
    else if (message.seq <= this.lastSeq) return;
    else if (message.seq > this.lastSeq + 1) return this.#lost(GAP);
    else this.lastSeq = message.seq;
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  /** @param {number} [code] */
  #lost(code) {
    this.#drop(code);
    this.#closed(0);
  }

  /** @param {number} code */
  #closed(code) {
    this.#setUp(false);
    if (code === TAKEN_OVER && this.#isWanted) {
      this.#isWanted = false;
      this.dispatchEvent(new Event("taken_over"));
    }
    if (!this.#isWanted) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.open(), retryDelay_s(this.#attempt, Math.random()) * 1000);
    this.#attempt += 1;
    this.dispatchEvent(new CustomEvent("refused", { detail: this.#attempt }));
  }

  /** @param {number} [code] */
  #drop(code) {
    const socket = this.#socket;
    this.#socket = null;
    this.#stuckSince = 0;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code ?? 1000);
  }

  /** Whatever comes is an answer. @param {boolean} isAnswering */
  #setAnswering(isAnswering) {
    clearTimeout(this.#patience);
    if (isAnswering) {
      this.#patience = undefined;
      this.#unansweredSince = 0;
    }
    if (this.isAnswering === isAnswering) return;
    this.isAnswering = isAnswering;
    this.dispatchEvent(new Event("answering"));
  }

  /** @param {boolean} isUp */
  #setUp(isUp) {
    this.#setAnswering(true);
    if (this.isUp === isUp) return;
    this.isUp = isUp;
    this.dispatchEvent(new CustomEvent("link", { detail: { isUp } }));
  }
}
