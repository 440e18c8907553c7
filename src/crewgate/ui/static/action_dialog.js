/**
 * The question before an action, and its receipt. The order goes out once, whatever a person clicks.
 * If its answer is lost, the dialog says so, and looks again: it claims neither success nor failure.
 */

import { APIError, api } from "./api.js";
import { stateText } from "./branch_facts.js";
import { fill, h, setText } from "./dom.js";
import { listText, plural, printable, spanText } from "./text.js";

const ARMED_AFTER_MS = 350; // the second click of a double click must not confirm
const ANSWER_MS_MAX = 60_000;
const REASON_CHARS_MAX = 500; // the server's bound
const LENGTHS = [
  ["0", "as configured (a day by default)"],
  ["3600", "1 hour"],
  ["86400", "1 day"],
  ["604800", "7 days"],
];

/** @typedef {import("./actions.js").Action} Action */

/**
 * Asks, orders and shows the receipt; resolves when the dialog has closed.
 * @param {import("./app.js").App} app
 * @param {Action} action
 */
export function openAction(app, action) {
  return new ActionDialog(app, action).show();
}

class ActionDialog {
  constructor(app, action) {
    this.app = app;
    this.action = action;
    this.isRunning = false;
    // The server carries out one order for an id, and sends the same receipt again.
    this.id = crypto.randomUUID();
    this.title = h("h2", { id: "action-title", tabindex: "-1" }, action.title);
    this.content = h("div", { class: "content" });
    this.buttons = h("div", { class: "buttons" });
    this.element = h(
      "dialog",
      { class: "action", "aria-labelledby": "action-title" },
      this.title,
      this.content,
      this.buttons,
    );
  }

  async show() {
    const { element } = this;
    document.body.append(element);
    // Nobody can leave while the order is under way: the receipt would be lost.
    element.addEventListener("cancel", (event) => this.isRunning && event.preventDefault());
    element.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.isRunning) event.preventDefault();
    });
    const closed = new Promise((resolve) =>
      element.addEventListener("close", resolve, { once: true }),
    );
    this.ask();
    element.showModal();
    this.title.focus();
    await closed;
    element.remove();
  }

  ask() {
    const { action } = this;
    this.reason = h("input", {
      type: "text",
      maxlength: String(REASON_CHARS_MAX),
      autocomplete: "off",
    });
    this.length = h(
      "select",
      null,
      LENGTHS.map(([value, text]) => h("option", { value }, text)),
    );
    const confirm = this.button(
      action.confirm,
      () => this.order(),
      action.isGrave ? "danger" : "main",
    );
    confirm.disabled = true;
    setTimeout(() => (confirm.disabled = false), ARMED_AFTER_MS);
    fill(
      this.content,
      action.sentences.map((each) => h("p", null, each)),
      h(
        "dl",
        { class: "facts" },
        action.facts.map(([name, value]) =>
          h("div", null, h("dt", null, name), h("dd", null, h("bdi", null, printable(value)))),
        ),
      ),
      action.hasLength && h("label", { class: "field" }, h("span", null, "How long"), this.length),
      action.hasReason &&
        h(
          "label",
          { class: "field" },
          h("span", null, "Reason, for the audit (not required)"),
          this.reason,
        ),
    );
    fill(
      this.buttons,
      this.button("Cancel", () => this.element.close()),
      confirm,
    );
  }

  async order() {
    if (this.isRunning) return;
    this.isRunning = true;
    const { action } = this;
    const until = action.body.action === "end" ? "all" : "";
    const body = { ...action.body, reason: this.reason.value.trim(), until, id: this.id };
    if (action.hasLength) body.seconds = Number(this.length.value);
    this.wait();
    try {
      this.showReceipt(await this.send(body));
    } catch (error) {
      if (error instanceof APIError && error.status !== 401) this.showFailure(error);
      else this.showUnknown(!(await this.hasSession()));
    } finally {
      clearInterval(this.timer);
      this.isRunning = false;
      this.element.removeAttribute("aria-busy");
    }
  }

  /**
   * Sends the order, and once more if its proof was refused although the session is good: a browser
   * repeats a request by itself if the connection ends before the answer.
   * @param {Record<string, unknown>} body
   */
  async send(body) {
    const post = () =>
      api.post("/api/action", body, { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
    try {
      return await post();
    } catch (error) {
      if (!(error instanceof APIError && error.status === 401) || !(await this.hasSession()))
        throw error;
      return post();
    }
  }

  wait() {
    const began = performance.now();
    const text = h("p", { class: "waiting" }, "Ordered. Waiting for the machines …");
    this.timer = setInterval(
      () =>
        setText(
          text,
          `Ordered. Waiting for the machines for ${spanText((performance.now() - began) / 1000)} …`,
        ),
      1_000,
    );
    this.element.setAttribute("aria-busy", "true");
    fill(this.content, text);
    fill(this.buttons);
    this.title.focus();
  }

  /** @param {{lines?: string[], receipt?: any}} found */
  showReceipt(found) {
    const reach = { ...found.receipt, ...found.receipt?.reach };
    const missing = reach.missing ?? [];
    const more = reach.missing_more ?? 0;
    const isWhole = !missing.length && !more && reach.enough !== false;
    const lines = (found.lines ?? []).map((line) => h("li", null, printable(line)));
    const reached =
      reach.of > 0 &&
      reach.applied_on !== undefined &&
      h(
        "p",
        { class: isWhole ? "good" : "warn" },
        h("b", null, isWhole ? "✓ " : "! "),
        `In force on ${reach.applied_on} of ${plural(reach.of, "machine")}`,
      );
    const warning =
      !isWhole &&
      h(
        "p",
        { class: "notice warn" },
        missing.length
          ? `No answer yet from ${listText(missing)}${more ? ` and ${more} more` : ""}. `
          : "",
        "Until a machine has it, that machine can still accept calls, for at most its max_staleness_seconds. " +
          "The order is sent again until each machine has it.",
      );
    setText(this.title, `${this.action.done}: the receipt`);
    fill(this.content, reached, warning, h("ul", { class: "receipt" }, lines));
    this.end(isWhole ? `${this.action.done}.` : `${this.action.done}, but not on all machines.`);
  }

  /** @param {APIError} error the server's own answer, so nothing was done unless it says so */
  showFailure(error) {
    const next =
      error.status === 403
        ? "Ask a person who has this right; “Access” says who."
        : "Look at the machines, and try again.";
    setText(this.title, "It failed");
    fill(
      this.content,
      h(
        "p",
        { class: "notice bad" },
        h("b", null, "✕ "),
        printable(error.detail || error.title || `status ${error.status}`),
      ),
      h("p", null, next),
      this.commandHint(),
    );
    this.end(
      "It failed.",
      error.status >= 500 && this.button("Try again", () => this.order(), "main"),
    );
  }

  /** @param {boolean} isSignedOut */
  showUnknown(isSignedOut) {
    setText(this.title, "It is not known whether this was done");
    this.found = h("p", { class: "found", role: "status" });
    fill(
      this.content,
      h(
        "p",
        { class: "notice warn" },
        h("b", null, "? "),
        "The connection was lost before the answer came. The order may have been carried out, or not.",
      ),
      h(
        "p",
        null,
        isSignedOut
          ? "Your session has ended. Sign in again, and look at the branch then."
          : "Look again to see what holds now. If you order again, it is carried out once all the same.",
      ),
      this.found,
      this.commandHint(),
    );
    this.end(
      "It is not known whether this was done.",
      !isSignedOut && this.button("Order again", () => this.order()),
      !isSignedOut && this.button("Look again", () => this.look(), "main"),
    );
  }

  hasSession() {
    return api.get("/api/session").then(
      () => true,
      (error) => error.status !== 401,
    ); // also without an answer
  }

  /** Says what holds of the branch now, by a new answer of the server. */
  async look() {
    const { crew, branch } = this.action.about;
    setText(this.found, "Asking …");
    try {
      const found = await api.get("/api/branch", { crew, branch });
      const node = this.app.store.find(crew, branch);
      const parts = [];
      const revoked = found.revocations ?? [];
      if (branch && node && this.app.live.state === "live")
        parts.push(`The branch is ${stateText(node.row)} now.`);
      const since = revoked.filter((each) => Date.parse(each.time) > Date.now() - 10 * 60_000);
      parts.push(
        since.length
          ? `${plural(since.length, "revocation")} of it ${since.length === 1 ? "is" : "are"} recorded in the last ten minutes: it was done.`
          : "No revocation of it is recorded in the last ten minutes.",
      );
      setText(this.found, parts.join(" "));
    } catch (error) {
      setText(
        this.found,
        `No answer yet${error instanceof APIError ? `: ${printable(error.message)}` : ""}. Look again in a moment.`,
      );
    }
  }

  commandHint() {
    return (
      this.action.command &&
      h(
        "p",
        { class: "quiet-text" },
        "On a machine of the cluster, this command does the same: ",
        h("code", null, this.action.command),
      )
    );
  }

  end(announcement, ...more) {
    fill(
      this.buttons,
      ...more,
      this.button("Close", () => this.element.close(), more.some(Boolean) ? "" : "main"),
    );
    this.app.announce(announcement);
    this.title.focus();
  }

  button(text, click, kind = "") {
    return h("button", { type: "button", class: kind, on: { click } }, text);
  }
}
