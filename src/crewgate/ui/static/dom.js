/**
 * Makes elements. Texts from the server become text nodes only, and no property can hold a script,
 * a style or the address of another kind than http(s) or a place of this page.
 */

const SVG = "http://www.w3.org/2000/svg";
const FORBIDDEN = /^(?:on|style$|srcdoc$|innerhtml$|outerhtml$)/i;
// Properties that have no attribute, or whose attribute is only the first value.
const AS_PROPERTY = new Set(["value", "checked", "disabled", "hidden", "open", "htmlFor"]);

/** @typedef {Node | string | number | false | null | undefined} Child */
/** @typedef {Child | Child[]} Children */

/**
 * Makes an element of HTML.
 * @param {string} tag
 * @param {Record<string, any> | null} properties attributes; `on` has handlers by event; `class`
 * @param {...Children} children
 * @returns {any} the element; callers know its kind by the tag
 */
export function h(tag, properties, ...children) {
  return finished(document.createElement(tag), properties, children);
}

/**
 * Makes an element of SVG.
 * @param {string} tag
 * @param {Record<string, any> | null} properties
 * @param {...Children} children
 * @returns {any}
 */
export function s(tag, properties, ...children) {
  return finished(document.createElementNS(SVG, tag), properties, children);
}

/**
 * Replaces all children of an element.
 * @param {Element} element
 * @param {...Children} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

/**
 * Sets a text only if it has changed: a text that is the same costs no layout, and no announcement.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Sets an attribute only if it has changed; null removes it.
 * @param {Element} element
 * @param {string} name
 * @param {string | null} value
 */
export function setAttribute(element, name, value) {
  if (FORBIDDEN.test(name)) throw new TypeError(`no attribute may be ${name}`);
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Returns an address that is safe to follow: http, https or a place of this page; else "".
 * @param {unknown} address
 */
export function safeAddress(address) {
  const text = String(address);
  if (text.startsWith("#") || /^\/(?!\/)/.test(text)) return text;
  try {
    return /^https?:$/.test(new URL(text).protocol) ? text : "";
  } catch {
    return "";
  }
}

function finished(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, handler] of Object.entries(value))
        element.addEventListener(event, handler);
    } else if (AS_PROPERTY.has(name)) {
      element[name] = value;
    } else if (name === "href") {
      const address = safeAddress(value);
      if (address) element.setAttribute("href", address);
    } else {
      setAttribute(element, name, value === true ? "" : String(value));
    }
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children
    .flat(3)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}
