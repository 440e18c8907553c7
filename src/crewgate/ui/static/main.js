/** Starts the page: takes a one-time code out of the address, finds the session, or asks for it. */

import { APIError, api } from "./api.js";
import { App } from "./app.js";
import { fill, h } from "./dom.js";
import { LoginView } from "./login_view.js";
import { placeOf } from "./router.js";
import { printable } from "./text.js";

const WANTED = "crewgate.wanted"; // the place to show after a login, of this tab

document.getElementById("skip")?.addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main")?.focus();
});

async function start() {
  const place = placeOf(location.hash);
  if (place.name === "code") {
    // Out of the address bar and the history before anything else happens.
    history.replaceState(null, "", "/");
    return useCode(place.parts[0] ?? "");
  }
  if (place.name === "login-failed") {
    history.replaceState(null, "", "/");
    return logIn(place.query.why ?? "unknown");
  }
  try {
    open(await api.get("/api/session"));
  } catch (error) {
    if (error instanceof APIError && error.status === 401) return logIn("");
    fail(error);
  }
}

async function useCode(code) {
  try {
    open(await api.logIn("/api/session", { code }));
  } catch (error) {
    logIn("code", error instanceof APIError ? error.message : "");
  }
}

/**
 * @param {string} why the last login failed, or the session ended; "" at the first
 * @param {string} [detail]
 */
function logIn(why, detail = "") {
  if (!sessionStorage.getItem(WANTED) && location.hash)
    sessionStorage.setItem(WANTED, location.hash);
  const view = new LoginView(why, detail, open);
  fill(/** @type {Element} */ (document.getElementById("page")), view.element);
  document.title = "Sign in – Crewgate";
  view.load();
}

function open(session) {
  const wanted = sessionStorage.getItem(WANTED);
  sessionStorage.removeItem(WANTED);
  if (wanted && !location.hash) history.replaceState(null, "", `/${wanted}`);
  new App(session, logIn).start();
}

function fail(error) {
  const text = !crypto.subtle
    ? "This page needs HTTPS, or an address of the machine itself."
    : error instanceof APIError
      ? `The server answers: ${printable(error.message)}`
      : "The server does not answer.";
  if (!(error instanceof APIError || error instanceof TypeError)) console.error(error);
  fill(
    /** @type {Element} */ (document.getElementById("page")),
    h(
      "main",
      { id: "main", tabindex: "-1", class: "login" },
      h(
        "div",
        { class: "card" },
        h("h1", null, "Crewgate"),
        h("p", { class: "notice bad", role: "alert" }, text),
        h(
          "button",
          { type: "button", class: "main", on: { click: () => location.reload() } },
          "Try again",
        ),
      ),
    ),
  );
}

addEventListener("hashchange", () => {
  if (placeOf(location.hash).name === "code") location.reload();
});

start();
