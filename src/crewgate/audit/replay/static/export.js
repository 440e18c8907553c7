// Of an exported replay: verifies the lines in the browser, and shows them step by step. It stands
// behind replay_view.js in one script. A person who changes the file can change this script too, so
// `crewgate audit verify-export` is what proves it.

const encoder = new TextEncoder();
const STATEMENT = "crewgate audit extract 1\0";
const CHECKPOINT = "crewgate audit checkpoint 1\0";

function bytesOf(text) {
  const padded = text.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(padded), (each) => each.charCodeAt(0));
}

function hex(bytes) {
  return Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("");
}

function joined(...parts) {
  const made = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    made.set(part, at);
    at += part.length;
  }
  return made;
}

async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** Returns the object of a signed line; throws if its key has not signed it. */
async function signedBy(line, context) {
  const member = ',"signature":"';
  const at = line.lastIndexOf(member);
  const signature = line.slice(at + member.length, -2);
  if (at < 0 || !/^[A-Za-z0-9_-]{86}$/.test(signature)) throw new Error("it has no signature");
  const body = `${line.slice(0, at)}}`;
  const found = JSON.parse(body);
  const key = await crypto.subtle.importKey("raw", bytesOf(found.key), "Ed25519", false, ["verify"]);
  const data = encoder.encode(context + body);
  if (!(await crypto.subtle.verify("Ed25519", key, bytesOf(signature), data))) {
    throw new Error("the signature is wrong");
  }
  return found;
}

async function differences(data, machine) {
  const found = [];
  const stated = await signedBy(machine.statement, STATEMENT);
  const same = (one, other) => (one || "") === (other || "");
  if (!same(stated.run, data.run) || !same(stated.since, data.since)
      || !same(stated.until, data.until) || !same(stated.machine, machine.machine)
      || !(same(stated.crew, "") || same(stated.crew, data.crew))
      || !(same(stated.made_by, "") || same(stated.made_by, data.made_by))) {
    found.push("its statement is about something else");
  }
  const digests = await Promise.all(machine.lines.map(({ file, offset, cover, text }) =>
    sha256(joined(Uint8Array.of(0), encoder.encode(`${file}\n${offset}\n${cover}\n${text}`)))));
  const all = hex(await sha256(joined(Uint8Array.of(1), ...digests)));
  if (all !== stated.digest || machine.lines.length !== stated.lines) {
    found.push("a line was changed, removed, inserted or moved");
  }
  const named = (stated.checkpoints || []).filter((each) => !each.is_left_out);
  if (named.length !== machine.checkpoints.length) found.push("a checkpoint was removed or added");
  for (const [at, line] of machine.checkpoints.entries()) {
    const checkpoint = await signedBy(line, CHECKPOINT);
    const digest = hex(await sha256(encoder.encode(line)));
    if (named[at]?.digest !== digest || checkpoint.key !== stated.key) {
      found.push(`checkpoint ${checkpoint.number} is not the one that it states`);
    }
  }
  return found;
}

/** Returns a moment of a record in microseconds since 1970. */
function momentOf(record) {
  const [, seconds, fraction] = /^(.{19})(?:\.(\d{1,6}))?Z$/.exec(record.time);
  const us = Date.parse(`${seconds}Z`) * 1000 + Number((fraction || "").padEnd(6, "0"));
  return us + (record.kind === "call" ? record.duration_us || 0 : 0);
}

/** Returns whether the steps are the lines, each once and in the order of their moments. */
function areStepsOfLines(data) {
  const seen = new Set();
  let before = -Infinity;
  for (const step of data.timeline.steps) {
    const line = data.machines[step.machine].lines[step.place];
    const record = JSON.parse(line.text);
    const branch = step.branch < 0 ? "" : data.timeline.branches[step.branch].branch;
    const moment = momentOf(record);
    // A grant is recorded after the call that had it first, and shown before it.
    const isRight = record.kind === "grant" ? step.moment_us <= moment : step.moment_us === moment;
    if (!isRight || step.moment_us < before) return false;
    if (branch && record.branch !== branch) return false;
    before = step.moment_us;
    seen.add(`${step.machine} ${step.place}`);
  }
  const count = data.machines.reduce((sum, machine) => sum + machine.lines.length, 0);
  return seen.size === count && data.timeline.steps.length === count;
}

async function verdict(data) {
  const found = [];
  for (const machine of data.machines) {
    const name = machine.machine || "the machine";
    try {
      found.push(...(await differences(data, machine)).map((why) => `${name}: ${why}`));
    } catch (error) {
      if (error.name === "NotSupportedError") throw error;
      found.push(`${name}: ${error.message}`);
    }
  }
  if (!areStepsOfLines(data)) found.push("the steps are not those of the lines");
  return found;
}

function readData() {
  const data = JSON.parse(document.getElementById("replay-data").textContent);
  for (const machine of data.machines) {
    machine.lines = machine.lines.map(([file, offset, cover, text]) => ({ file, offset, cover, text }));
  }
  return data;
}

async function main() {
  const data = readData();
  const root = document.getElementById("replay");
  root.hidden = false;
  const player = new ReplayPlayer({ ...data.timeline, machines: data.machines }, () => {});
  root.append(player.element);
  player.go(0);
  const shown = document.getElementById("replay-verdict");
  try {
    const found = await verdict(data);
    shown.className = found.length ? "is-bad" : "is-good";
    shown.textContent = found.length
      ? `NOT as the machines signed it: ${found.join("; ")}.`
      : "The keys above have signed these lines, as your browser has verified. Compare the keys with "
        + "those that were noted when the machines were set up.";
  } catch {
    shown.className = "";
    shown.textContent = "This browser cannot verify Ed25519 signatures. Use the command: "
      + "crewgate audit verify-export FILE --key KEY";
  }
}

await main();
