/**
 * What a person can order about a branch or a crew: the words, and the request. An action that the
 * person has no right for is not offered; the server decides all the same.
 */

import { budgetOf, personOf, roleText } from "./branch_facts.js";
import { creditsText, listText, plural, printable, shortId, shortName } from "./text.js";
import { countBelow, pathOf } from "./tree_store.js";

/**
 * @typedef {object} Action
 * @property {string} name also of the button
 * @property {string} label of the button that opens the question
 * @property {string} title the question
 * @property {string[]} sentences what will happen
 * @property {[string, string][]} facts
 * @property {string} confirm the text of the button that orders it
 * @property {string} done the title of the receipt
 * @property {Record<string, unknown>} body of the request
 * @property {string} command that does the same, if the page cannot
 * @property {boolean} [isGrave] nobody can undo it
 * @property {boolean} [isRare]
 * @property {boolean} [hasLength] a quarantine has one
 * @property {boolean} [hasReason]
 * @property {{crew: string, branch: string}} about
 */

/** @typedef {import("./tree_store.js").TreeNode} TreeNode */
/** @typedef {(right: string, crew: string) => boolean} May */

/**
 * Returns what the person may do about a branch or a crew.
 * @param {TreeNode} node
 * @param {May} may
 * @returns {Action[]}
 */
export function actionsFor(node, may) {
  const { row } = node;
  const actions = [];
  const canOperate = may("operate", row.crew);
  const isOver = row.state === "revoked" || row.state === "closed";
  if (canOperate && !node.isCrew && !isOver) actions.push(end(node));
  if (canOperate && row.orchestrator && row.level !== "quarantine") actions.push(quarantine(node));
  if (canOperate && row.orchestrator && row.level) actions.push(lift(node));
  if (may("budget", row.crew) && !node.isCrew && row.burned > 0) actions.push(giveBack(node));
  if (canOperate) actions.push(...rare(node, may));
  if (may("ca", row.crew) && row.orchestrator) actions.push(revokeOrchestrator(node));
  return actions;
}

function end(node) {
  const { row } = node;
  const live = countBelow(node).live;
  const below = live
    ? `${plural(live, "live branch")} below it ${live === 1 ? "ends" : "end"} too. `
    : "";
  return {
    ...endOf(row),
    title: `End ${roleText(row)} ${shortId(row.branch)}?`,
    sentences: [
      `${below}All machines refuse its calls at once, and cut its open calls. Nobody can undo it.`,
    ],
    facts: factsOf(node, ["Live below it", live ? plural(live, "branch") : "none"]),
  };
}

/** What each order to end a branch has. */
function endOf({ crew, branch }) {
  return {
    name: "end",
    label: "End …",
    isGrave: true,
    hasReason: true,
    confirm: "End it",
    done: "Ended",
    body: { action: "end", crew, branch },
    command: `crewgate revoke ${word(branch)} --crew ${word(crew)}`,
    about: { crew, branch },
  };
}

/**
 * Ends a branch that no machine which answered knows now: it may call again, or at another machine.
 * @param {string} crew
 * @param {string} branch
 * @param {May} may
 * @returns {Action[]}
 */
export function actionsForUnknown(crew, branch, may) {
  if (!branch || !may("operate", crew)) return [];
  return [
    {
      ...endOf({ crew, branch }),
      title: `End branch ${shortId(branch)}?`,
      sentences: [
        "No machine that answered knows this branch now. All machines refuse its calls from now on, and those of all below it. Nobody can undo it.",
      ],
      facts: [
        ["Branch", branch],
        ["Crew", crew],
      ],
    },
  ];
}

function quarantine(node) {
  const { row } = node;
  return {
    name: "quarantine",
    label: "Quarantine …",
    hasLength: true,
    title: `Quarantine ${shortName(row.orchestrator)}?`,
    sentences: [
      "The orchestrator can start no branches on any machine. Its live branches continue.",
      "“Lift” ends the quarantine.",
    ],
    facts: [
      ["Orchestrator", row.orchestrator],
      ["Crew", row.crew],
    ],
    confirm: "Quarantine it",
    done: "Quarantined",
    body: { action: "quarantine", crew: row.crew, orchestrator: row.orchestrator },
    command: `crewgate quarantine ${word(row.orchestrator)}`,
    about: aboutOf(row),
  };
}

function lift(node) {
  const { row } = node;
  return {
    name: "lift",
    label: "Lift …",
    title: `Let ${shortName(row.orchestrator)} start branches again?`,
    sentences: [
      "The orchestrator can start branches again on all machines. The minting watch learns again what is usual.",
    ],
    facts: [
      ["Orchestrator", row.orchestrator],
      ["Crew", row.crew],
    ],
    confirm: "Lift it",
    done: "Lifted",
    body: { action: "lift", crew: row.crew, orchestrator: row.orchestrator },
    command: `crewgate quarantine ${word(row.orchestrator)} --lift`,
    about: aboutOf(row),
  };
}

function giveBack(node) {
  const { row } = node;
  const burned = creditsText(row.burned);
  return {
    name: "forgive",
    label: "Give back burned credits …",
    title: `Give back ${burned} burned credits?`,
    sentences: [
      "The machine that had leased these credits, or the call that had reserved them, ended without a report. They return to the branch and to every level above it.",
      "You confirm that nobody spent them.",
    ],
    facts: factsOf(node, ["Burned", `${burned} credits`]),
    confirm: "Give them back",
    done: "Given back",
    body: { action: "forgive", crew: row.crew, branch: row.branch },
    command: `crewgate ledger forgive ${word(row.branch)}`,
    about: aboutOf(row),
  };
}

function rare(node, may) {
  const { row } = node;
  const about = aboutOf(row);
  const actions = [];
  const token = (name, label, title, sentence, body, command) =>
    actions.push({
      name,
      label,
      title,
      sentences: [sentence, "Nobody can undo it."],
      facts: factsOf(node),
      confirm: "Revoke",
      done: "Revoked",
      body: { action: "end", ...body },
      command,
      about,
      isGrave: true,
      isRare: true,
      hasReason: true,
    });
  if (node.isCrew) {
    token(
      "end-crew",
      "Revoke all tokens …",
      `Revoke all tokens of crew ${shortName(row.crew)}?`,
      "All machines refuse each token of the crew that was issued until now, and cut its open calls. Orchestrators can mint new ones.",
      { crew: row.crew, all_tokens: true },
      `crewgate revoke --all-tokens-of ${word(row.crew)}`,
    );
    return actions;
  }
  if (personOf(row)) actions.push(endPerson(row.subject, row.crew, may, about));
  if (row.process) {
    token(
      "end-process",
      "Revoke the tokens of its process …",
      `Revoke the tokens of process ${shortName(row.process)}?`,
      "All machines refuse each token of this process that was issued until now.",
      { crew: row.crew, process: row.process },
      `crewgate revoke --process ${word(row.process)} --crew ${word(row.crew)}`,
    );
  }
  if (row.grant) {
    token(
      "end-grant",
      "Revoke its grant …",
      `Revoke grant ${shortName(row.grant)}?`,
      "All machines refuse this token of the branch. The branch can go on with a later one.",
      { crew: row.crew, grant: row.grant },
      `crewgate revoke --grant ${word(row.grant)} --crew ${word(row.crew)}`,
    );
  }
  return actions;
}

/**
 * Ends all runs of a person, in all crews if the right is for all.
 * @param {string} subject
 * @param {string} crew
 * @param {May} may
 * @param {{crew: string, branch: string}} [about]
 * @returns {Action}
 */
export function endPerson(subject, crew, may, about = { crew, branch: "" }) {
  const isEverywhere = may("operate", "");
  const where = isEverywhere ? "in all crews" : `in crew ${shortName(crew)}`;
  return {
    name: "end-subject",
    label: "End all runs of this person …",
    isGrave: true,
    isRare: true,
    hasReason: true,
    title: `End all runs of ${shortName(subject)}?`,
    sentences: [
      `All machines end the runs on behalf of this person ${where}, and refuse later tokens for this person, too.`,
      "Nobody can undo it.",
    ],
    facts: [
      ["Person", subject],
      ["Crews", isEverywhere ? "all" : crew],
    ],
    confirm: "End all runs",
    done: "Ended",
    body: { action: "end", crew: isEverywhere ? "" : crew, subject },
    command: `crewgate revoke --subject ${word(subject)}${isEverywhere ? "" : ` --crew ${word(crew)}`}`,
    about,
  };
}

function revokeOrchestrator(node) {
  const { row } = node;
  return {
    name: "revoke-orchestrator",
    label: "Revoke the orchestrator’s certificates …",
    isGrave: true,
    isRare: true,
    hasReason: false,
    title: `Revoke all certificates of ${shortName(row.orchestrator)}?`,
    sentences: [
      "The orchestrator can neither call nor mint, and all its tokens issued until now are revoked. It needs a new certificate.",
      "Nobody can undo it.",
    ],
    facts: [
      ["Orchestrator", row.orchestrator],
      ["Crew", row.crew],
    ],
    confirm: "Revoke them",
    done: "Revoked",
    body: { action: "revoke-orchestrator", crew: row.crew, orchestrator: row.orchestrator },
    command: "",
    about: aboutOf(row),
  };
}

function factsOf(node, ...more) {
  const { row } = node;
  const { total } = budgetOf(row);
  const spent = creditsText(row.spent);
  /** @type {[string, string][]} */
  const facts = node.isCrew
    ? [["Crew", row.crew]]
    : [
        ["Branch", row.branch],
        ["Role", row.role],
        ["Crew", row.crew],
        [
          "Above it",
          pathOf(node)
            .filter((each) => !each.isCrew)
            .map((each) => `${roleText(each.row)} ${shortId(each.row.branch)}`)
            .join(" › "),
        ],
        ["Person", personOf(row)],
      ];
  facts.push(
    ...more,
    ["Spent", total ? `${spent} of ${creditsText(total)} credits` : `${spent} credits`],
    ["Machines", listText(node.machines)],
  );
  return facts.filter(([, value]) => value);
}

function aboutOf(row) {
  return { crew: row.crew, branch: row.branch };
}

/** A word of a command: what a shell would read in another way is quoted. */
function word(text) {
  const shown = printable(text);
  return /^[\w./:@*-]+$/.test(shown) ? shown : `'${shown.replaceAll("'", "'\\''")}'`;
}
