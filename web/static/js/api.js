// @ts-check
/** The page's HTTP API. A refusal comes back as `ApiError` with the server's stable code. */

export class ApiError extends Error {
  /** @param {number} status 0: the server could not be reached @param {string} code @param {string} [said] the server's own words for a person */
  constructor(status, code, said = "") {
    super(`${status} ${code}`);
    this.status = status;
    this.code = code;
    this.said = said;
  }

  /** Trying the same again later may work. */
  get isPassing() {
    return this.status === 0 || this.status === 401 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

const TIMEOUT_MS = 10000;
let csrf = document.querySelector('meta[name="csrf-token"]')?.getAttribute("content") ?? "";

/** @param {string} token */
export function useCsrfToken(token) {
  csrf = token;
}

/** @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<any>} */
export async function call(method, path, body) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json", "X-CSRF-Token": csrf };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    if (error instanceof TypeError || error instanceof DOMException) throw new ApiError(0, "unreachable");
    throw error;
  }
  const isJson = response.headers.get("Content-Type")?.includes("json") ?? false;
  const answer = isJson ? await response.json() : null;
  if (!response.ok) throw new ApiError(response.status, answer?.code ?? "failed", answer?.message ?? "");
  return answer;
}

/** @param {string} interaction @param {string} [rest] */
export function interactionPath(interaction, rest = "") {
  return `/api/interactions/${encodeURIComponent(interaction)}${rest}`;
}
