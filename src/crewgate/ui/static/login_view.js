/** Asks a person to sign in, by the ways that the server offers. */

import { APIError, api } from "./api.js";
import { fill, h } from "./dom.js";
import { printable, textFor } from "./text.js";

const FAILURES = {
  refused:
    "The identity provider, or you, refused the login. Try again, or ask who may use Crewgate.",
  "no-rights":
    "You are signed in at the identity provider, but have no rights here. Ask an operator to name you or one of your groups in [ui.access].",
  expired: "The login took too long, or began in another browser. Sign in again.",
  unavailable:
    "Crewgate cannot complete a login at the identity provider. Try again; the log of the gateway says why.",
  misconfigured:
    "The configuration of Crewgate lets nobody log in. Tell its operator; the log of the gateway says what to mend.",
  busy: "Too many people are signing in. Try again in a minute.",
  invalid: "The answer of the identity provider is not good. The log of the gateway says why.",
  code: "The one-time link is not good: it works once, and only for a short time. Type “crewgate ui” for another.",
  certificate: "Your browser has shown no certificate of an operator.",
  "signed-out": "You have signed out.",
  ended: "Your session has ended. Sign in again.",
  rights: "Your rights have changed. Sign in again.",
};
const CALM = new Set(["signed-out", "ended", "rights"]);

export class LoginView {
  /**
   * @param {string} why it is shown: a word of `FAILURES`, or ""
   * @param {string} detail what the server said
   * @param {(session: any) => void} open is called with the session
   */
  constructor(why, detail, open) {
    this.open = open;
    this.ways = h("div", { class: "ways" }, h("p", { class: "quiet-text" }, "Asking the server …"));
    this.said = h("div", null);
    this.element = h(
      "main",
      { id: "main", tabindex: "-1", class: "login" },
      h(
        "div",
        { class: "card" },
        h("img", { src: "/static/mark.svg", alt: "", width: "44", height: "44" }),
        h("h1", null, "Sign in to Crewgate"),
        this.said,
        this.ways,
      ),
    );
    if (why)
      this.say(
        textFor(FAILURES, why, "The login failed. Try again; the log of the gateway says why."),
        CALM.has(why),
        detail,
      );
  }

  async load() {
    try {
      this.show(await api.ways());
    } catch {
      fill(
        this.ways,
        h("p", { class: "notice bad" }, "The server does not answer."),
        h(
          "button",
          { type: "button", class: "main", on: { click: () => this.load() } },
          "Try again",
        ),
      );
    }
  }

  show({ login, certificate, link, machine }) {
    const host = login && hostOf(login);
    fill(
      this.ways,
      login &&
        this.button(`Sign in with ${host}`, "main", async () => {
          const { url } = await api.logIn("/api/login");
          if (/^https?:\/\//.test(url)) location.assign(url);
        }),
      certificate &&
        this.button("Use the certificate of an operator", login ? "" : "main", async () => {
          this.open(await api.logIn("/api/session"));
        }),
      link &&
        h(
          "p",
          { class: "quiet-text" },
          "Or type ",
          h("code", null, "crewgate ui"),
          ` on ${printable(machine)}: it prints a link that works once.`,
        ),
    );
    if (!login && !certificate && !link) {
      fill(
        this.ways,
        h(
          "p",
          { class: "notice bad" },
          "The configuration names no way to sign in. Add [ui.login] to it.",
        ),
      );
    }
  }

  button(text, kind, work) {
    const button = h(
      "button",
      {
        type: "button",
        class: kind,
        on: {
          click: async () => {
            button.disabled = true;
            try {
              await work();
            } catch (error) {
              const detail =
                error instanceof APIError ? error.message : "The server does not answer.";
              this.say("The login failed.", false, detail);
            } finally {
              button.disabled = false;
            }
          },
        },
      },
      text,
    );
    return button;
  }

  say(text, isCalm, detail) {
    fill(
      this.said,
      h(
        "p",
        { class: `notice ${isCalm ? "" : "bad"}`, role: "alert" },
        text,
        detail && ` ${printable(detail)}`,
      ),
    );
  }
}

function hostOf(address) {
  try {
    return printable(new URL(address).host);
  } catch {
    return "the identity provider";
  }
}
