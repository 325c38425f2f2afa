import { ApiProblem, problemOf, send, sentenceOf } from "./client";

/** The pauses before the stream is opened again; the last one repeats. */
const RETRY_DELAYS_MS = [500, 1_000, 2_000, 4_000, 8_000];
/** The silence after which the connection counts as lost. The sidecar sends a heartbeat every 15 s by default. */
const SILENCE_LIMIT_MS = 45_000;
/** The longest line that is kept; a longer one is not an event of the router. */
const MAX_BUFFER_CHARACTERS = 8_000_000;

export interface StreamEvent {
  name: string;
  /** The sequence of the last journal entry that the client has with this event: of its own, for an event of the journal. */
  sequence: number;
  /** The JSON text. */
  data: string;
}

export type StreamPhase =
  | { kind: "connecting" }
  | { kind: "live" }
  /** Nothing arrives; what the page shows may be old. */
  | { kind: "lost"; detail: string }
  /** The sidecar refuses the stream: retrying with the same key is useless. */
  | { kind: "refused"; detail: string };

export interface StreamHandlers {
  /** The events that arrived together, in order. */
  onEvents(events: StreamEvent[]): void;
  onPhase(phase: StreamPhase): void;
  /** Bytes arrived: the connection is alive. */
  onBytes(): void;
}

/** Follows GET /events and continues after a lost connection where it ended. Returns a function that ends it. */
export function followEvents(handlers: StreamHandlers): () => void {
  const stop = new AbortController();
  void run(handlers, stop.signal);
  return () => stop.abort();
}

async function run(handlers: StreamHandlers, stop: AbortSignal): Promise<void> {
  const position = { lastEventId: "" };
  handlers.onPhase({ kind: "connecting" });
  for (let failures = 0; !stop.aborted; failures += 1) {
    try {
      await readStream(handlers, position, stop, () => { failures = 0; });
      if (!stop.aborted) handlers.onPhase({ kind: "lost", detail: "The sidecar closed the event stream." });
    } catch (error) {
      if (stop.aborted) return;
      if (error instanceof ApiProblem && (error.status === 401 || error.status === 403)) {
        handlers.onPhase({ kind: "refused", detail: error.detail });
        return;
      }
      handlers.onPhase({ kind: "lost", detail: sentenceOf(error) });
    }
    const delay = RETRY_DELAYS_MS[Math.min(failures, RETRY_DELAYS_MS.length - 1)] ?? 1_000;
    await pause(delay, stop);
  }
}

async function readStream(
  handlers: StreamHandlers,
  position: { lastEventId: string },
  stop: AbortSignal,
  onOpen: () => void,
): Promise<void> {
  const silence = new AbortController();
  const end = () => silence.abort();
  stop.addEventListener("abort", end);
  let watchdog = setTimeout(end, SILENCE_LIMIT_MS);
  try {
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (position.lastEventId !== "") headers["Last-Event-ID"] = position.lastEventId;
    const response = await send("events", { headers, signal: silence.signal });
    if (!response.ok || !response.body) throw problemOf(response.status, await response.text());
    handlers.onPhase({ kind: "live" });
    onOpen();
    const frames = new FrameReader(position);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(watchdog);
      watchdog = setTimeout(end, SILENCE_LIMIT_MS);
      handlers.onBytes();
      const events = frames.read(value);
      if (events.length > 0) handlers.onEvents(events);
    }
  } catch (error) {
    if (error instanceof ApiProblem || stop.aborted) throw error;
    throw new Error(silence.signal.aborted ? "Nothing arrived for 45 s." : "The connection to the sidecar is lost.");
  } finally {
    clearTimeout(watchdog);
    stop.removeEventListener("abort", end);
  }
}

/** Splits server-sent events (WHATWG HTML) and keeps the id of the last one. */
class FrameReader {
  private buffer = "";

  constructor(private readonly position: { lastEventId: string }) {}

  read(text: string): StreamEvent[] {
    this.buffer += text;
    if (this.buffer.length > MAX_BUFFER_CHARACTERS) throw new Error("The event stream has an event that is too long.");
    const frames = this.buffer.split("\n\n");
    this.buffer = frames.pop() ?? "";
    return frames.flatMap((frame) => this.parse(frame));
  }

  private parse(frame: string): StreamEvent[] {
    let name = "message";
    let data = "";
    for (const line of frame.split("\n")) {
      const colon = line.indexOf(":");
      if (colon < 1) continue;
      const value = line.slice(colon + 1).replace(/^ /, "");
      const field = line.slice(0, colon);
      if (field === "event") name = value;
      else if (field === "data") data += value;
      else if (field === "id") this.position.lastEventId = value;
    }
    return data === "" ? [] : [{ name, data, sequence: Number.parseInt(this.position.lastEventId, 10) || 0 }];
  }
}

function pause(milliseconds: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    stop.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
