// @ts-check
/** Which microphone, where the caller is heard, where it rings. Remembered on this computer. */
import { byId, h } from "./dom.js";
import { t } from "./messages.js";
import { devices } from "./microphone.js";

const STORED = "callfloor.devices";
const hasSinkChoice = "setSinkId" in HTMLMediaElement.prototype;

/** @returns {{microphone: string, speaker: string, ring: string}} */
export function chosenDevices() {
  return { microphone: "", speaker: "", ring: "", ...JSON.parse(localStorage.getItem(STORED) ?? "{}") };
}

/** Events: `chosen` (detail: {which, deviceId}), `test` (ring once). */
export class DevicesDialog extends EventTarget {
  constructor() {
    super();
    this.dialog = /** @type {HTMLDialogElement} */ (byId("devices-dialog"));
    this.meter = /** @type {HTMLMeterElement} */ (byId("devices-level"));
    for (const which of /** @type {const} */ (["microphone", "speaker", "ring"])) {
      const select = /** @type {HTMLSelectElement} */ (byId(`devices-${which}`));
      select.disabled = which !== "microphone" && !hasSinkChoice;
      select.addEventListener("change", () => {
        localStorage.setItem(STORED, JSON.stringify({ ...chosenDevices(), [which]: select.value }));
        this.dispatchEvent(new CustomEvent("chosen", { detail: { which, deviceId: select.value } }));
      });
    }
    byId("devices-test").addEventListener("click", () => this.dispatchEvent(new Event("test")));
    byId("devices-close").addEventListener("click", () => this.dialog.close());
    const notify = /** @type {HTMLButtonElement} */ (byId("devices-notify"));
    notify.hidden = !("Notification" in window) || Notification.permission !== "default";
    notify.addEventListener("click", async () => {
      await Notification.requestPermission();
      notify.hidden = true;
    });
    navigator.mediaDevices?.addEventListener("devicechange", () => this.dialog.open && this.#fill());
  }

  async open() {
    await this.#fill();
    if (!this.dialog.open) this.dialog.showModal();
  }

  async #fill() {
    const chosen = chosenDevices();
    const [inputs, outputs] = [await devices("audioinput"), await devices("audiooutput")];
    this.#options("microphone", inputs, chosen.microphone);
    this.#options("speaker", outputs, chosen.speaker);
    this.#options("ring", outputs, chosen.ring);
  }

  /** @param {string} which @param {MediaDeviceInfo[]} list @param {string} chosen */
  #options(which, list, chosen) {
    const select = /** @type {HTMLSelectElement} */ (byId(`devices-${which}`));
    const named = list.filter((device) => device.deviceId !== "default");
    select.replaceChildren(h("option", { value: "" }, t("Default device")), ...named.map((one) => h("option", { value: one.deviceId }, one.label || t("Unnamed device"))));
    select.value = named.some((one) => one.deviceId === chosen) ? chosen : "";
  }
}
