// Server-sent events from a response's body.

/**
 * The data of each event as it comes. Leaving the loop closes the connection.
 * @param {ReadableStream<Uint8Array>} body
 */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split(/\r?\n\r?\n/);
      rest = parts.pop();
      for (const part of parts) {
        const data = dataOf(part);
        if (data) yield data;
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // it may have failed already
  }
}

function dataOf(event) {
  // Lines that begin otherwise are comments that keep the connection open.
  const lines = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
  return lines.map((line) => line.slice(5).trimStart()).join("\n");
}
