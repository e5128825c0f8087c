// @ts-check
/** The supervisor's floor, put together: the picture renews itself, what is chosen stays chosen, keys and buttons act. */
import { byId } from "./dom.js";
import { ChoiceDialog, MessageDialog } from "./floor_dialogs.js";
import { Selection } from "./floor_selection.js";
import { Steering } from "./floor_steer.js";
import { Keys } from "./keys.js";
import { Notices } from "./notices.js";

const why = byId("why");
const keys = new Keys();
const selection = new Selection(byId("floor-live"));
const steering = new Steering(selection, new Notices(), new ChoiceDialog(), new MessageDialog());

/** @returns {boolean} whether an answer was open */
function closeWhy() {
  const isOpen = why.childElementCount > 0;
  why.replaceChildren();
  return isOpen;
}

why.addEventListener("click", (event) => event.target instanceof Element && event.target.closest(".why-close") && closeWhy());
selection.addEventListener("change", () => steering.draw());
byId("open-message").addEventListener("click", () => steering.press("m"));
for (const key of steering.keys) keys.bind(key, () => steering.press(key));
keys.bind("ArrowDown", () => selection.step(1));
keys.bind("ArrowUp", () => selection.step(-1));
keys.bind("Escape", () => closeWhy() || selection.clear(), { isEverywhere: true });
keys.bind("?", () => keys.help.showModal());
byId("steer").removeAttribute("aria-busy");
