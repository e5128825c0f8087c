// @ts-check
/** What runs out in a shift is asked for again in time: the phone's way in, its password, the session. */
import { ApiError, call, useCsrfToken } from "./api.js";

const PHONE_FAILURES = 3;
const RENEW_WAY_MS = 600000;
const RENEW_PHONE_MS = 3000;
const LONGEST_RENEW_PHONE_MS = 30000;

export class Renewal {
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #again;

  /** @param {import("./phone.js").Phone|null} phone @param {import("./health.js").Health} health */
  constructor(phone, health) {
    this.phone = phone;
    this.health = health;
    phone?.addEventListener("refused", () => this.#renewPhone());
    // Between, the library tries by itself, later each time: a floor of pages must not storm a PBX that starts.
    phone?.addEventListener("lost", () => phone.failures % PHONE_FAILURES === 0 && void this.ask());
    setInterval(() => this.#renewWay(), RENEW_WAY_MS);
  }

  /** The session may have ended, or the phone's credentials may have run out. Whether the server answered. */
  async ask({ isPhoneRefused = false } = {}) {
    const { phone, health } = this;
    let isAnswered = false;
    try {
      const fresh = await call("GET", "/api/desk");
      health.isLoggedOut = false;
      useCsrfToken(fresh.csrf);
      isAnswered = true;
      const isDown = phone?.state !== "registered" && (isPhoneRefused || (phone?.failures ?? 0) >= PHONE_FAILURES);
      if (phone && (isDown || fresh.phone.password !== phone.account.password)) {
        await this.#renewWay();
        await phone.renew(fresh.phone);
      }
    } catch (error) {
      health.isLoggedOut = error instanceof Error && "status" in error && (error.status === 401 || error.status === 403);
    }
    health.draw();
    return isAnswered;
  }

  /** The gate lets the phone in for some hours at a time; an open page keeps that way open. */
  async #renewWay() {
    if (!this.phone) return;
    try {
      this.phone.account.ice_servers = (await call("GET", "/api/desk/phone")).ice_servers;
    } catch (error) {
      // The server is away: what it gave the last time is good for hours.
      if (!(error instanceof ApiError)) throw error;
    }
  }

  /** The PBX refused the phone: another log-in, or a new start of the server, made another password. The library does not try again. */
  #renewPhone() {
    clearTimeout(this.#again);
    const wait = Math.min(Math.max((this.phone?.refusals ?? 1) - 1, 0) * RENEW_PHONE_MS, LONGEST_RENEW_PHONE_MS);
    this.#again = setTimeout(async () => {
      if (!(await this.ask({ isPhoneRefused: true })) && !this.health.isLoggedOut) this.#again = setTimeout(() => this.#renewPhone(), RENEW_PHONE_MS);
    }, wait);
  }
}
