/** Reads server-sent events from a response; `EventSource` cannot send a proof. */

/**
 * Yields the events as they arrive. Each is given in a task of its own, so that input and drawing
 * come between two large ones.
 * @param {Response} response
 * @returns {AsyncGenerator<{name: string, data: string}>}
 */
export async function* eventsOf(response) {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      let searched = Math.max(0, waiting.length - 1);
      waiting += value;
      for (let end; (end = waiting.indexOf("\n\n", searched)) >= 0; searched = 0) {
        const event = parsed(waiting.slice(0, end));
        waiting = waiting.slice(end + 2);
        if (event.data) {
          yield event;
          await nextTask();
        }
      }
    }
  } finally {
    reader.cancel().catch(() => null);
  }
}

/** Resolves in a new task, after input and drawing that wait. */
export function nextTask() {
  return new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      resolve(undefined);
    };
    channel.port2.postMessage(null);
  });
}

function parsed(text) {
  const event = { name: "message", data: "" };
  for (const line of text.split("\n")) {
    if (line.startsWith("event:")) event.name = line.slice(6).trim();
    else if (line.startsWith("data:")) event.data += line.slice(line[5] === " " ? 6 : 5);
  }
  return event;
}
