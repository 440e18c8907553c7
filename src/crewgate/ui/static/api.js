/** Requests to the server, each with a proof that this browser has the key of its session. */

import { publicKey, sessionKey } from "./session_key.js";

const encoder = new TextEncoder();
// The newest nonce of the server. A proof with an older one is refused, so that none is good later.
let nonce = "";

/** A problem document (RFC 9457), or an answer that is none. */
export class APIError extends Error {
  /**
   * @param {number} status
   * @param {string} type
   * @param {string} title
   * @param {string} detail
   */
  constructor(status, type, title, detail) {
    super(detail || title);
    this.name = "APIError";
    Object.assign(this, { status, type, title, detail });
    this.status = status;
    this.type = type;
    this.title = title;
    this.detail = detail;
  }
}

export const api = {
  /**
   * @param {string} path
   * @param {Record<string, string>} [query]
   */
  get: async (path, query) => (await open(path, query)).json(),
  /**
   * @param {string} path
   * @param {unknown} body
   * @param {RequestInit} [options]
   */
  post: async (path, body, options) => (await send("POST", path, undefined, body, options)).json(),
  /** @param {string} path */
  delete: async (path) => void (await send("DELETE", path)),
  open,
  ways: async () => (await answered(await fetch("/api/ways", { cache: "no-store" }))).json(),
  /**
   * Asks for a session of the key of this browser: it has none yet, so there is no proof.
   * @param {"/api/login" | "/api/session"} path
   * @param {Record<string, string>} [members]
   */
  logIn: async (path, members) => {
    const body = JSON.stringify({ key: await publicKey(), ...members });
    const headers = { "Content-Type": "application/json" };
    const request = { method: "POST", headers, body, cache: /** @type {const} */ ("no-store") };
    return (await answered(await fetch(path, request))).json();
  },
};

/**
 * Opens a response for a stream or a download.
 * @param {string} path
 * @param {Record<string, string>} [query]
 * @param {RequestInit} [options]
 */
async function open(path, query, options) {
  return send("GET", path, query, undefined, options);
}

async function send(method, path, query, body, options) {
  const search = query ? `?${new URLSearchParams(query)}` : "";
  const bytes = body === undefined ? undefined : encoder.encode(JSON.stringify(body));
  const ask = async () => {
    /** @type {Record<string, string>} */
    const headers = { DPoP: await proof(method, location.origin + path, bytes) };
    if (bytes) headers["Content-Type"] = "application/json";
    const request = {
      method,
      headers,
      body: bytes,
      cache: "no-store",
      redirect: "error",
      ...options,
    };
    return fetch(path + search, /** @type {RequestInit} */ (request));
  };
  const before = nonce;
  const response = await ask();
  keepNonce(response);
  // Refused for its nonce, so nothing was done: after a restart of the server, or a pause.
  return answered(response.status === 401 && nonce !== before ? await ask() : response);
}

function keepNonce(response) {
  nonce = response.headers.get("DPoP-Nonce") ?? nonce;
}

async function answered(response) {
  keepNonce(response);
  if (response.ok) return response;
  const found = await response.json().catch(() => ({}));
  throw new APIError(response.status, text(found.type), text(found.title), text(found.detail));
}

function text(value) {
  return typeof value === "string" ? value : "";
}

/** Signs a proof (RFC 9449) that is good for one request; `bh` is the hash of its body. */
async function proof(method, address, bytes) {
  const pair = await sessionKey();
  const claims = {
    jti: crypto.randomUUID(),
    htm: method,
    htu: address,
    iat: Math.floor(Date.now() / 1000),
    ...(nonce && { nonce }),
    ...(bytes && { bh: base64url(await crypto.subtle.digest("SHA-256", bytes)) }),
  };
  const header = { typ: "dpop+jwt", alg: "ES256", jwk: await publicKey() };
  const signed = [header, claims].map((part) => base64url(encoder.encode(JSON.stringify(part))));
  const algorithm = { name: "ECDSA", hash: "SHA-256" };
  const input = encoder.encode(signed.join("."));
  const signature = await crypto.subtle.sign(algorithm, pair.privateKey, input);
  return [...signed, base64url(signature)].join(".");
}

/** @param {ArrayBuffer | Uint8Array} bytes */
function base64url(bytes) {
  const characters = String.fromCharCode(...new Uint8Array(bytes));
  return btoa(characters).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
