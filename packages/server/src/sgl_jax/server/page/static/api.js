// What the page asks the server. Addresses are relative, so that it works behind a proxy's prefix, too.

import { events } from "./sse.js";

const KEY = "sgl-jax.key";

/** Any answer but a success: `status` is 0 when none came. */
export class ApiError extends Error {
  constructor(status, message, code = null) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The API key of this tab. It is gone when the tab is. */
export const apiKey = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY)),
};

/** The JSON that a GET brings. Throws ApiError. */
export async function getJson(path, signal) {
  return (await ask(path, { signal })).json();
}

/** The chunks of a streamed chat completion. Throws ApiError, also for an error in mid-stream. */
export async function* streamChat(body, signal) {
  const response = await ask("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  let ended = false;
  for await (const data of events(response.body)) {
    if (data === "[DONE]") {
      ended = true;
      continue; // to the end of the response: to leave now would look like an answer that nobody wanted
    }
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(statusOf(chunk.error), chunk.error.message, chunk.error.code);
    yield chunk;
  }
  if (!ended) throw new ApiError(0, "The connection ended in the middle of the answer.");
}

async function ask(path, options) {
  const headers = { ...options.headers };
  if (apiKey.get()) headers.Authorization = `Bearer ${apiKey.get()}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "same-origin" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, "The server does not answer.");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({})); // a proxy's own page, perhaps
  throw new ApiError(response.status, said.error?.message ?? response.statusText, said.error?.code ?? null);
}

// An error inside a stream has no status of its own.
function statusOf(error) {
  const statuses = { service_unavailable_error: 503, rate_limit_error: 429, invalid_request_error: 400 };
  return statuses[error.type] ?? 500;
}

/**
 * An error in plain words, with what to do about it.
 * @returns {{title: string, advice: string}}
 */
export function explain(error) {
  const message = error.message || "";
  if (error.code === "context_length_exceeded") {
    return {
      title: "This conversation is too long for the model.",
      advice: `${message} Start a new chat, or ask for fewer tokens.`,
    };
  }
  switch (error.status) {
    case 0:
      return { title: message, advice: "Is it still running, and is this machine connected? Then try again." };
    case 400:
      return {
        title: "The server cannot do this as it is written.",
        advice: `${message} Change it in the settings and try again.`,
      };
    case 401:
    case 403:
      return {
        title: apiKey.get() ? "The server does not accept this API key." : "This server wants an API key.",
        advice: "Enter the key it was started with in the settings, then try again.",
      };
    case 408:
      return {
        title: "The answer took longer than the server allows.",
        advice: "Ask for fewer tokens, or try again later.",
      };
    case 413:
      return { title: "This is more text than the server takes.", advice: "Shorten it, or start a new chat." };
    case 429:
      return { title: "The server is full.", advice: "Others are waiting already. Try again in a few seconds." };
    case 503:
      return {
        title: "The model is not there right now.",
        advice: `${message} The bar at the top says when it is back.`,
      };
    default:
      return { title: "The server failed at this request.", advice: `${message} Its log says more.` };
  }
}
