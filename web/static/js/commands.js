// @ts-check
/** Which key does what. The overlay behind `?` shows the same list (web/templates/_help.html). */

/**
 * @param {{keys: import("./keys.js").Keys, pops: import("./pops.js").Pops, bar: import("./state_bar.js").StateBar,
 *   actions: import("./actions.js").DeskActions, tabs: import("./tabs.js").Tabs, work: import("./work.js").Work,
 *   devicesDialog: import("./devices.js").DevicesDialog, beside: import("./beside.js").Beside}} parts
 */
export function bindKeys({ keys, pops, bar, actions, tabs, work, devicesDialog, beside }) {
  const everywhere = { isEverywhere: true };
  const live = () => pops.live?.controls;

  /** Presses a button that is there to be pressed. @param {HTMLElement|undefined} element */
  const press = (element) => {
    if (!element || element.hidden) return false;
    element.click();
    return true;
  };

  keys.bind("F2", () => press(live()?.answer) || actions.answerPhone(), everywhere);
  keys.bind("Shift+F2", () => press(live()?.hangUp), everywhere);
  keys.bind("F8", () => press(live()?.mute), everywhere);
  keys.bind("F9", () => press(live()?.hold), everywhere);
  keys.bind("Ctrl+Enter", () => actions.do("done"), everywhere);
  keys.bind("m", () => press(live()?.mute));
  keys.bind("h", () => press(live()?.hold));
  keys.bind("k", () => press(live()?.keypad));
  keys.bind("t", () => press(live()?.transfer));
  keys.bind("p", () => press(live()?.pause));
  keys.bind("o", () => press(live()?.objection));
  keys.bind("c", () => press(live()?.consult.hidden ? undefined : live()?.join));
  keys.bind("b", () => press(live()?.consult.hidden ? undefined : live()?.back));
  keys.bind("j", () => press(live()?.consult.hidden ? undefined : live()?.confer));
  keys.bind("r", () => beside.read());
  keys.bind("a", () => bar.ask("AVAILABLE"));
  keys.bind("n", () => bar.toggleMenu());
  keys.bind("e", () => pops.active?.note.field.focus());
  keys.bind("u", () => void devicesDialog.open());
  keys.bind("s", () => pops.active?.findCustomer());
  keys.bind("/", () => {
    tabs.choose("work");
    void work.search();
  });
  keys.bind("[", () => tabs.step(-1));
  keys.bind("]", () => tabs.step(1));
  keys.bind("?", () => keys.help.showModal());
  keys.bind(
    "Escape",
    () => {
      if (bar.isMenuOpen) return bar.closeMenu();
      if (live()?.isKeypadOpen) return live()?.toggleKeypad();
      if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
      return false;
    },
    everywhere,
  );

  // What is open in front gets the digits and letters first: reasons, keypad, customers to choose, outcomes.
  keys.first = (key) => {
    const digit = /^[1-9]$/.test(key) ? Number(key) - 1 : -1;
    if (bar.isMenuOpen && digit >= 0) {
      bar.chooseReason(digit);
      return true;
    }
    if (live()?.isKeypadOpen && /^[0-9*#]$/.test(key)) {
      live()?.press(key);
      return true;
    }
    const card = pops.active;
    if (!card) return false;
    if (digit >= 0 && card.chooseAt(digit)) return true;
    return card.pop.phase !== "ringing" && Boolean(card.outcome?.press(key));
  };
}
