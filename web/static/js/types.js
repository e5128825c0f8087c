// @ts-check
/**
 * Shapes that cross the desk socket and the page's API (docs/desk-protocol.md). Only types: nothing runs here.
 *
 * @typedef {"LOGGED_OUT"|"NOT_READY"|"AVAILABLE"|"RESERVED"|"ON_CALL"|"WRAP_UP"} AgentState
 * @typedef {{agent: string, name: string, state: AgentState, reason: string, since: number, until: number|null,
 *   interaction: string|null, next_state: AgentState|null}} Agent
 * @typedef {{id: string, at: number, direction: string, queue?: string, agent?: string, disposition?: string,
 *   note?: string, talk_s?: number, has_recording?: boolean}} PastInteraction
 * @typedef {{id: number, name?: string, kind?: string, company?: string, tier?: string, status?: string,
 *   language?: string, flags?: string[], owner?: string, account_number?: string, numbers?: string[], email?: string,
 *   since?: string, interactions?: PastInteraction[]}} Customer
 * @typedef {{code: string, name: string, relation: string, summary?: string}} Product
 * @typedef {{target: string, kind: string, phase: string}} Transfer
 * @typedef {"ringing"|"talking"|"held"|"consulting"|"wrap_up"} Phase
 * @typedef {{interaction: string, phase: Phase, since: number, until: number|null, direction: string,
 *   queue: {id: string, name: string}|null, waited_s: number|null,
 *   caller: {number?: string, name?: string, is_withheld?: boolean, handle?: string},
 *   dnis?: string, account?: string, choice?: string, language?: string,
 *   match: "one"|"none"|"many"|"pending"|"failed", how: string, party: number|null, customers: Customer[],
 *   products: Product[], note: string, disposition: string, recording: "off"|"on"|"paused", recording_basis?: string,
 *   transfer: Transfer|null, from_agent: string, why?: string, conference?: string}} Pop
 * @typedef {{kind: "browser"|"desk", ws_url: string, uri: string, username: string, password: string,
 *   display_name: string, ice_servers: RTCIceServer[]}} PhoneAccount
 * @typedef {{code: string, label: string}} Reason
 * @typedef {{code: string, label: string, key: string, queue: string|null}} Disposition
 * @typedef {{agent: Agent, phone: PhoneAccount, reasons: Reason[], dispositions: Disposition[],
 *   queues: {id: string, name: string}[], language: string, socket_url: string, csrf: string}} DeskSetup
 * @typedef {{listeners: {name: string, mode: string, interaction: string}[],
 *   spying: {interaction: string, agent: string, name: string, mode: string, is_on: boolean, at: number}|null,
 *   messages: {id: string, from: string, text: string, at: number}[]}} Beside
 * @typedef {{is_fresh: boolean, why: string}} DeskHealth
 */
export {};
