/** The controls above the tree: a text, filters and the order. */

import { personOf } from "./branch_facts.js";
import { h, setText } from "./dom.js";
import { button } from "./elements.js";
import { FIRST_CHOICES } from "./tree_lines.js";
import { shortName } from "./text.js";

const OPTIONS_MAX = 300; // more names than that, nobody looks through
const SUGGESTIONS_MAX = 100;
const ALL = { crew: "All crews", role: "All roles" };
const STATES = [
  ["", "All states"],
  ["live", "live"],
  ["exhausted", "used up"],
  ["token-revoked", "token revoked"],
  ["revoked", "revoked"],
  ["closed", "closed"],
  ["expired", "expired"],
];
const ORDERS = [
  ["tree", "Sort by name"],
  ["rate", "Sort by credits/min"],
  ["share", "Sort by share of quota"],
];

/** @typedef {import("./tree_lines.js").Choices} Choices */

export class FilterBar {
  /**
   * @param {Choices} choices
   * @param {(choices: Choices) => void} changed
   */
  constructor(choices, changed) {
    this.choices = choices;
    this.changed = changed;
    this.text = this.input("text", "Filter by text", {
      type: "search",
      placeholder: "Filter: role, id, person, machine …",
    });
    this.crew = this.select("crew", "Crew", [["", ALL.crew]]);
    this.role = this.select("role", "Role", [["", ALL.role]]);
    this.state = this.select("state", "State", STATES);
    this.order = this.select("order", "Sort by", ORDERS);
    this.subjects = h("datalist", { id: "subjects" });
    this.subject = this.input("subject", "Person", {
      type: "text",
      list: "subjects",
      placeholder: "All people",
    });
    this.onlyLive = this.check("onlyLive", "Only live");
    this.onlyLive.label.title =
      "A branch that ends while the page is open stays in the list for five minutes.";
    this.onlyAttention = this.check("onlyAttention", "Needs attention");
    this.more = h(
      "button",
      {
        type: "button",
        class: "more-filters",
        "aria-expanded": "false",
        "aria-controls": "more-filters",
        on: { click: () => this.toggle() },
      },
      "Filters",
    );
    const all = () => this.set({ ...FIRST_CHOICES, order: this.choices.order });
    this.clear = button("Clear filters", all, "quiet clear");
    this.details = h(
      "div",
      { class: "more", id: "more-filters" },
      this.crew,
      this.subject,
      this.role,
      this.state,
      this.order,
      this.subjects,
      this.onlyLive.label,
      this.onlyAttention.label,
      this.clear,
    );
    this.element = h(
      "form",
      {
        class: "filters",
        role: "search",
        "aria-label": "Filter branches",
        on: { submit: (event) => event.preventDefault() },
      },
      this.text,
      this.more,
      this.details,
    );
    this.show();
  }

  /** @param {Partial<Choices>} choices */
  set(choices) {
    this.choices = { ...this.choices, ...choices };
    this.show();
    this.changed(this.choices);
  }

  /** Offers the names that the tree has now. */
  offer(nodes) {
    const found = { crew: new Set(), role: new Set(), subject: new Set() };
    for (const { row } of nodes) {
      const names = { crew: row.crew, role: row.role, subject: personOf(row) };
      for (const name of /** @type {const} */ (["crew", "role", "subject"])) {
        if (names[name] && found[name].size < OPTIONS_MAX) found[name].add(names[name]);
      }
    }
    for (const name of /** @type {const} */ (["crew", "role"])) {
      if (this.choices[name]) found[name].add(this.choices[name]);
      renew(this[name], ["", ...[...found[name]].sort()], name);
    }
    const subjects = [...found.subject].sort().slice(0, SUGGESTIONS_MAX);
    if (this.subjects.dataset.of === subjects.join("\n")) return;
    this.subjects.dataset.of = subjects.join("\n");
    this.subjects.replaceChildren(...subjects.map((each) => h("option", { value: each })));
  }

  show() {
    const { choices } = this;
    for (const name of ["text", "subject"])
      if (this[name].value !== choices[name]) this[name].value = choices[name];
    for (const name of ["crew", "role"]) {
      const options = [...this[name].options].map((option) => option.value);
      if (!options.includes(choices[name])) renew(this[name], [...options, choices[name]], name);
    }
    for (const name of ["crew", "role", "state", "order"]) this[name].value = choices[name];
    for (const name of ["onlyLive", "onlyAttention"]) this[name].box.checked = choices[name];
    const inside = ["crew", "role", "state", "subject"].filter((name) => choices[name]).length;
    setText(this.more, inside ? `Filters (${inside})` : "Filters");
    this.more.classList.toggle("on", inside > 0);
    this.clear.hidden = !inside && !choices.text && !choices.onlyAttention;
  }

  take(name, value) {
    this.set({ [name]: value });
  }

  toggle() {
    const isOpen = this.element.classList.toggle("open");
    this.more.setAttribute("aria-expanded", String(isOpen));
  }

  select(name, label, options) {
    const element = h(
      "select",
      {
        "aria-label": label,
        class: `by-${name}`,
        on: { change: () => this.take(name, element.value) },
      },
      options.map(([value, text]) => h("option", { value }, text)),
    );
    return element;
  }

  input(name, label, properties) {
    const element = h("input", {
      "aria-label": label,
      autocomplete: "off",
      spellcheck: "false",
      maxlength: "200",
      value: this.choices[name],
      on: { input: () => this.take(name, element.value) },
      ...properties,
    });
    return element;
  }

  check(name, text) {
    const box = h("input", {
      type: "checkbox",
      on: { change: () => this.take(name, box.checked) },
    });
    return { box, label: h("label", { class: "check" }, box, text) };
  }
}

function renew(select, names, kind) {
  const key = names.join("\n");
  if (select.dataset.of === key) return;
  select.dataset.of = key;
  const { value } = select;
  select.replaceChildren(
    ...names.map((each) => h("option", { value: each }, each ? shortName(each) : ALL[kind])),
  );
  select.value = names.includes(value) ? value : "";
}
