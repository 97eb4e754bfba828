// One answer while it comes: the stream's chunks -> a message with its numbers.

import { streamChat } from "./api.js";

/**
 * Asks for an answer, and fills `message` as it comes.
 * @param {Message} message - empty, of the assistant
 * @param {Object} request - fields of a chat completion
 * @param {AbortSignal} signal - leaves the server, which stops computing
 * @param {() => void} onNews - called after each change
 * @throws {ApiError} and, once aborted, whatever the browser throws
 */
export async function receive(message, request, signal, onNews) {
  const clock = new Clock();
  const options = { include_usage: true, continuous_usage_stats: true };
  const stream = streamChat({ ...request, stream: true, stream_options: options }, signal);
  for await (const { choices, usage } of stream) {
    const [choice] = choices;
    const isNew = choice && take(message, choice.delta);
    message.end = choice?.finish_reason ?? message.end;
    message.numbers = clock.tick(usage, isNew);
    onNews();
  }
}

/** Adds what a chunk brought; returns whether that was anything. */
function take(message, delta) {
  message.content += delta.content ?? "";
  if (delta.reasoning_content) message.reasoning = (message.reasoning ?? "") + delta.reasoning_content;
  for (const call of delta.tool_calls ?? []) takeCall((message.calls ??= []), call);
  return Boolean(delta.content || delta.reasoning_content || delta.tool_calls);
}

function takeCall(calls, { index, id, function: { name, arguments: more } }) {
  calls[index] ??= { id, type: "function", function: { name, arguments: "" } };
  calls[index].function.arguments += more ?? "";
}

class Clock {
  #asked = performance.now();
  #first = 0;
  #last = 0;
  #tokensAtFirst = 0;

  /** Times are in seconds; `rate`, tokens a second after the first, is null before there are two. */
  tick(usage, isNew) {
    const now = performance.now();
    const tokens = usage?.completion_tokens ?? 0;
    if (!this.#first && (isNew || tokens)) {
      this.#first = now;
      this.#tokensAtFirst = tokens;
    }
    if (isNew) this.#last = now;
    const seconds = (this.#last - this.#first) / 1000;
    const further = tokens - this.#tokensAtFirst;
    return {
      prompt: usage?.prompt_tokens ?? 0,
      cached: usage?.prompt_tokens_details?.cached_tokens ?? 0,
      tokens,
      first: this.#first ? (this.#first - this.#asked) / 1000 : null,
      rate: further > 0 && seconds > 0 ? further / seconds : null,
    };
  }
}
