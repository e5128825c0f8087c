// @ts-check
/** What the line is worth, from the browser's own statistics of the call. */

/**
 * @typedef {{at_ms: number, received: number, lost: number, jitter_s: number, rtt_s: number|null}} Sample
 * @typedef {{word: "good"|"fair"|"poor"|"silent"|"unknown", rtt_ms: number|null, jitter_ms: number, loss: number}} Quality
 */

/** @param {RTCStatsReport} report @param {number} at_ms @returns {Sample|null} */
export function sampleOf(report, at_ms) {
  /** @type {any} */ let inbound = null;
  /** @type {number|null} */ let rtt_s = null;
  for (const entry of report.values()) {
    if (entry.type === "inbound-rtp" && entry.kind === "audio") inbound = entry;
    if (entry.type === "remote-inbound-rtp" && typeof entry.roundTripTime === "number") rtt_s = entry.roundTripTime;
    if (entry.type === "candidate-pair" && entry.nominated && typeof entry.currentRoundTripTime === "number") {
      rtt_s ??= entry.currentRoundTripTime;
    }
  }
  if (!inbound) return null;
  return { at_ms, received: inbound.packetsReceived ?? 0, lost: inbound.packetsLost ?? 0, jitter_s: inbound.jitter ?? 0, rtt_s };
}

/** Loss over the last interval, not over the call: what the ear hears now. @param {Sample} now @param {Sample|null} before @returns {Quality} */
export function judge(now, before) {
  const received = now.received - (before?.received ?? 0);
  const lost = Math.max(0, now.lost - (before?.lost ?? 0));
  const loss = received + lost > 0 ? lost / (received + lost) : 0;
  const rtt_ms = now.rtt_s === null ? null : Math.round(now.rtt_s * 1000);
  const jitter_ms = Math.round(now.jitter_s * 1000);
  const figures = { rtt_ms, jitter_ms, loss };
  if (!before) return { word: "unknown", ...figures };
  if (received === 0) return { word: "silent", ...figures };
  if (loss > 0.05 || jitter_ms > 60 || (rtt_ms ?? 0) > 500) return { word: "poor", ...figures };
  if (loss > 0.015 || jitter_ms > 30 || (rtt_ms ?? 0) > 250) return { word: "fair", ...figures };
  return { word: "good", ...figures };
}
