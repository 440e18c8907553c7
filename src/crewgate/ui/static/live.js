/**
 * Keeps the stream of `/api/live` open. After a loss it connects again, after half a second at
 * first and eight at most. It counts as lost, too, if nothing arrives: the server sends each second.
 */

import { APIError, api } from "./api.js";
import { eventsOf } from "./event_stream.js";

const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 8_000;
const SILENCE_MS_MAX = 6_000;

/** @typedef {"connecting" | "live" | "lost" | "ended"} LiveState */

export class Live {
  /**
   * @param {(name: string, data: any) => void} take gets each event
   * @param {(live: Live) => void} changed is called when the state changes
   */
  constructor(take, changed) {
    this.state = /** @type {LiveState} */ ("connecting");
    this.lostAt = 0; // ms since 1970, while lost
    this.why = "";
    this.take = take;
    this.changed = changed;
    this.pause = PAUSE_MS_MIN;
    /** @type {AbortController | null} */
    this.attempt = null;
    this.wake = () => {};
    this.isOpen = true;
  }

  /** Runs until `close`, or until the session has ended. */
  async run() {
    const again = () => this.retry();
    addEventListener("online", again);
    try {
      for (;;) {
        await this.connect();
        if (!this.isOpen || this.state === "ended") return;
        await this.rest(this.pause * (0.75 + Math.random() / 2));
        this.pause = Math.min(2 * this.pause, PAUSE_MS_MAX);
      }
    } finally {
      removeEventListener("online", again);
    }
  }

  /** Tries again at once, if the connection is lost. */
  retry() {
    if (this.state === "live") return;
    this.pause = PAUSE_MS_MIN;
    this.wake();
  }

  close() {
    this.isOpen = false;
    this.attempt?.abort();
    this.wake();
  }

  async connect() {
    const attempt = new AbortController();
    this.attempt = attempt;
    let last = performance.now();
    const watch = setInterval(() => {
      if (performance.now() - last > SILENCE_MS_MAX) attempt.abort();
    }, 1_000);
    try {
      const response = await api.open("/api/live", undefined, { signal: attempt.signal });
      for await (const { name, data } of eventsOf(response)) {
        last = performance.now();
        const found = JSON.parse(data);
        if (name === "session") return this.enter("ended", found.why);
        this.take(name, found);
        this.pause = PAUSE_MS_MIN;
        this.enter("live");
      }
      this.enter("lost", "the server closed the connection");
    } catch (error) {
      if (error instanceof APIError && error.status === 401) this.enter("ended", "ended");
      else this.enter("lost", error instanceof APIError ? error.message : "");
      if (!(
        error instanceof APIError ||
        error.name === "TypeError" ||
        error.name === "AbortError"
      )) {
        console.error(error); // a mistake of the page itself
      }
    } finally {
      clearInterval(watch);
      attempt.abort();
    }
  }

  /**
   * @param {LiveState} state
   * @param {string} [why]
   */
  enter(state, why = "") {
    if (state === this.state && why === this.why) return;
    if (state === "lost" && this.state !== "lost") this.lostAt = Date.now();
    this.state = state;
    this.why = why;
    if (this.isOpen) this.changed(this);
  }

  /** @param {number} ms */
  rest(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
  }
}
