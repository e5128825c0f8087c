// @ts-check
/** What the server's stable codes are called. An unknown code is shown as it is. */
import { t } from "./messages.js";

const WORDS = {
  state: () => ({
    LOGGED_OUT: t("Logged out"),
    NOT_READY: t("Not ready"),
    AVAILABLE: t("Available"),
    RESERVED: t("Ringing"),
    ON_CALL: t("On call"),
    WRAP_UP: t("Wrap-up"),
  }),
  phase: () => ({
    ringing: t("Ringing"),
    talking: t("Talking"),
    held: t("On hold"),
    consulting: t("Consulting"),
    wrap_up: t("Wrap-up"),
  }),
  reason: () => ({
    ring_no_answer: t("Call not answered"),
    rejected: t("Call declined"),
    phone_unreachable: t("Phone not reachable"),
    returning: t("Your caller rings again"),
    browser_lost: t("The page with the phone went away"),
    gone: t("Page closed"),
    silent: t("Page not answering"),
    asleep: t("Page asleep"),
    no_microphone: t("No microphone"),
    login: t("Just logged in"),
    logged_in: t("Just logged in"),
    listening: t("Listening to a talk"),
    consult: t("Asked by a colleague"),
    direct: t("Called directly"),
    take_over: t("Takes a caller over"),
    callback: t("Calls somebody back"),
    not_accepted: t("Call not accepted with the key"),
    removed: t("Taken out of the list of agents"),
  }),
  stale: () => ({
    gone: t("The server has lost this page."),
    silent: t("The server does not hear from this page."),
    asleep: t("This page was asleep."),
    no_microphone: t("There is no working microphone."),
    no_phone: t("The phone is not registered."),
  }),
  closed: () => ({
    answered_elsewhere: t("answered by somebody else"),
    caller_gone: t("the caller hung up"),
    no_answer: t("not answered in time"),
    rejected: t("declined"),
    not_accepted: t("not accepted with the key"),
    unreachable: t("the phone could not be reached"),
    transferred: t("transferred"),
    done: t("done"),
  }),
  notice: () => ({
    rona: t("You did not answer in time, so you are not ready now. Press Available when you are back."),
    no_answer: t("You did not answer in time, so you are not ready now. Press Available when you are back."),
    recording_failed: t("This call could not be recorded."),
    transfer_failed: t("The transfer did not work; the caller is back with you."),
    transfer_nobody: t("Nobody of them is free; the caller is back with you."),
    transfer_refused: t("Callers may not be handed on to this number."),
    repaired: t("Your state was corrected."),
  }),
  refused: () => ({
    unreachable: t("The server cannot be reached. Try again in a moment."),
    not_on_call: t("There is no call to do that with."),
    not_in_wrap_up: t("There is no wrap-up to finish."),
    agent_not_available: t("That colleague is not free."),
    target_not_available: t("That colleague is not free."),
    unknown_target: t("That target does not exist."),
    not_recorded: t("This call is not recorded."),
    phone_unreachable: t("Your phone is not reachable."),
    desk_stale: t("This page cannot ring; see the message at the top."),
  }),
  why: () => ({
    longest_idle: t("You were free for the longest time."),
    best_skilled: t("You are the most proficient of those who were free."),
    least_occupied: t("You were the least busy of those who were free."),
    fewest_skills: t("You were free, and others with more skills stay free."),
    round_robin: t("It was your turn."),
    weighted_random: t("You were drawn by lot."),
    named_agent: t("The caller was sent to you."),
    picked: t("A supervisor gave you this caller."),
    preferred_owner: t("This customer is in your care."),
    preferred_last_agent: t("You spoke with this customer last."),
    returning: t("Your talk was cut off: the caller is back."),
  }),
  unrecorded: () => ({
    off: t("Not recorded: switched off"),
    no_consent: t("Not recorded: no consent"),
    objected: t("Not recorded: the caller objected"),
    unannounced: t("Not recorded: it could not be announced"),
  }),
  flag: () => ({
    vip: t("VIP"),
    complaint_open: t("Open complaint"),
    payment_overdue: t("Payment overdue"),
    do_not_call: t("Do not call"),
    slow_payer: t("Slow payer"),
    no_marketing: t("No advertising"),
    fraud_watch: t("Fraud watch"),
    new: t("New customer"),
  }),
  tier: () => ({ gold: t("Gold"), silver: t("Silver"), bronze: t("Bronze"), platinum: t("Platinum"), standard: t("Standard") }),
  status: () => ({ active: t("Active"), inactive: t("Inactive"), prospect: t("Prospect"), dormant: t("Dormant"), lost: t("Former customer"), closed: t("Closed") }),
  relation: () => ({ owns: t("Owns"), asks_about: t("Asks about") }),
  quality: () => ({
    good: t("Good line"),
    fair: t("Fair line"),
    poor: t("Poor line"),
    silent: t("No sound arriving"),
    unknown: t("Measuring the line"),
  }),
};

/** Outcome code → its label in this person's language, filled when the desk opens. @type {Map<string, string>} */
export const outcomeNames = new Map();

/** @param {keyof typeof WORDS} group @param {string} code */
export function word(group, code) {
  /** @type {Record<string, string>} */
  const words = WORDS[group]();
  return Object.hasOwn(words, code) ? words[code] : code.replaceAll("_", " ");
}

/** @param {keyof typeof WORDS} group @param {string} code */
export function hasWord(group, code) {
  return Object.hasOwn(WORDS[group](), code);
}

/** Why the server refused, in words. @param {{code: string, said: string}} error */
export function refusal(error) {
  return hasWord("refused", error.code) || !error.said ? word("refused", error.code) : error.said;
}
