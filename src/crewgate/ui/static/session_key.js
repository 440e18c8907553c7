/**
 * The key of this browser: P-256, in IndexedDB, and not even the page can read its private half.
 * The server binds the session to it, so a stolen cookie is worthless. All tabs share the key.
 */

const DATABASE = "crewgate";
const STORE = "keys";
const NAME = "session";

/** @type {Promise<CryptoKeyPair> | null} */
let known = null;

/** Returns the key, and makes it first if there is none. */
export function sessionKey() {
  known ??= readOrMake().catch((error) => {
    known = null;
    throw error;
  });
  return known;
}

/** Returns the public key as a JWK with its required members only (RFC 7638). */
export async function publicKey() {
  const pair = await sessionKey();
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  return { kty, crv, x, y };
}

/** Forgets the key, after a person has signed out. */
export async function forgetKey() {
  known = null;
  await inStore("readwrite", (store) => store.delete(NAME));
}

async function readOrMake() {
  const found = await inStore("readonly", (store) => store.get(NAME));
  if (found) return found;
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const made = await crypto.subtle.generateKey(algorithm, false, ["sign", "verify"]);
  // If another tab was faster, its key counts: the session of the cookie has one key.
  await inStore("readwrite", (store) => store.add(made, NAME)).catch(() => null);
  return inStore("readonly", (store) => store.get(NAME));
}

/**
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest} work
 * @returns {Promise<any>}
 */
async function inStore(mode, work) {
  const database = await opened();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const request = work(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error ?? request.error);
    });
  } finally {
    database.close();
  }
}

/** @returns {Promise<IDBDatabase>} */
function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
