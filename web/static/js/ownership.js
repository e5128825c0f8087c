// @ts-check
/** One tab of this browser holds the desk of an agent: only that one registers the phone and opens the socket. */

/** Events: `lost` (another tab took the desk). */
export class Ownership extends EventTarget {
  /** @type {(() => void)|null} */ #release = null;
  /** @type {BroadcastChannel} */ #channel;
  #mayHearOwner = false;
  isOwner = false;
  isOtherOnCall = false;

  /** @param {string} agent @param {() => boolean} isOnCall */
  constructor(agent, isOnCall) {
    super();
    this.name = `callfloor-desk-${agent}`;
    this.#channel = new BroadcastChannel(this.name);
    this.#channel.onmessage = ({ data }) => {
      if (data === "who" && this.isOwner) this.#channel.postMessage({ isOnCall: isOnCall() });
      else if (data && typeof data === "object" && this.#mayHearOwner) {
        this.isOtherOnCall = Boolean(data.isOnCall);
        this.dispatchEvent(new Event("owner"));
      }
    };
  }

  /** @param {{steal?: boolean}} [options] @returns {Promise<boolean>} whether this tab holds the desk now */
  claim({ steal = false } = {}) {
    if (this.isOwner) return Promise.resolve(true);
    return new Promise((resolve) => {
      const options = steal ? { steal: true } : { ifAvailable: true };
      navigator.locks
        .request(this.name, options, (lock) => {
          this.isOwner = lock !== null;
          resolve(this.isOwner);
          return lock === null ? undefined : new Promise((release) => (this.#release = () => release(undefined)));
        })
        .catch(() => {
          // Stolen by another tab: the browser says so by rejecting the old holder's request.
          this.isOwner = false;
          this.dispatchEvent(new Event("lost"));
        });
    });
  }

  /** Asks the tab that holds the desk whether it is on a call; `owner` is fired when it answers. */
  askOwner() {
    this.#mayHearOwner = true;
    this.#channel.postMessage("who");
  }

  release() {
    this.isOwner = false;
    this.#release?.();
    this.#release = null;
  }
}
