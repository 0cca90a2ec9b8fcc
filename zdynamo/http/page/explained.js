// Where a key belongs, what each owner holds, and how they differ: as `zdynamo explain` shows it.

import { make, table } from "./dom.js";
import { bytes, moment, span } from "./words.js";

const TYPES = { "": "bytes", "text/plain": "text", "application/msgpack": "data" };
const REPLICA = ["Node", "State", "Record", "Siblings", "Differs from", "Clock"].map(title => ({ title }));
const SIBLING = [
  { title: "Sibling", number: true }, { title: "Dot" }, { title: "Kind" }, { title: "Type" },
  { title: "Size", number: true }, { title: "Written" }, { title: "Expires" },
];

export function explained(told) {
  const dots = new Map();
  for (const replica of told.replicas) for (const sibling of replica.siblings) dots.set(sibling.dot, sibling);
  const ordered = [...dots.keys()].sort(byDot), numbers = new Map(ordered.map((dot, at) => [dot, at + 1]));
  const { rules } = told;
  const strict = ["pr", "pw"].filter(name => rules[name]).map(name => ` ${name}=${rules[name]}`).join("");
  const expiry = rules.expiry_ms ? `values expire after ${span(rules.expiry_ms)}` : "values do not expire";
  const facts = [
    ["partition", String(told.partition)],
    ["owners", told.owners.map(owner => owner.name).join(", ") || "none yet: the first put decides"],
    ["fallbacks", told.fallbacks.map(fallback => fallback.name).join(", ") || "none"],
    ["bucket", `${told.bucket}: r=${rules.r} w=${rules.w}${strict}, ${expiry}, conflict ${rules.conflict}`],
  ];
  const waiting = told.replicas.filter(replica => replica.waits).map(({ name, waits }) => `${name}: ${waits}`);
  return make("div.explanation", {},
    make("h3", {}, `Explained: ${typeof told.key === "string" ? told.key : told.key.base64}`),
    make("dl", {}, ...facts.flatMap(([name, fact]) => [make("dt", {}, name), make("dd", {}, fact)])),
    told.replicas.length ? table("Replicas", REPLICA,
      told.replicas.map(replica => replicaRow(replica, told, numbers))) : null,
    ordered.length ? table("Siblings", SIBLING,
      ordered.map(dot => siblingRow(numbers.get(dot), dots.get(dot)))) : make("p.calm", {}, "No owner holds anything under this key."),
    waiting.length ? make("p.note", {}, `What is dead waits to be removed: ${waiting.join("; ")}`) : null);
}

function replicaRow(replica, told, numbers) {
  if (!replica.reachable) return [make("b", {}, replica.name), make("span.state.down", {}, "✕ unreachable"), "–", "–", "–", "–"];
  const owner = told.owners.some(({ id }) => id === replica.id);
  const holds = replica.hints.length ? `, holds it for ${replica.hints.join(", ")}` : "";
  const state = (replica.settled ? "settled" : owner ? "unsettled" : "fallback") + holds;
  const differs = replica.differs_from.length
    ? make("span.state.suspect", {}, `≠ ${replica.differs_from.join(", ")}`) : make("span.state.alive", {}, "= none");
  return [
    make("b", {}, replica.name), state, make("code", {}, replica.digest ? replica.digest.slice(0, 8) : "none"),
    replica.siblings.map(({ dot }) => numbers.get(dot)).join(", ") || "–", differs,
    make("code", {}, [...replica.clock, ...replica.cloud].map(short).join(" ") || "–"),
  ];
}

function siblingRow(number, sibling) {
  const expires = sibling.expires_ms ? moment(sibling.expires_ms) : "–", written = moment(sibling.written_ms);
  const dot = make("code", { title: sibling.dot }, short(sibling.dot));
  if (sibling.tombstone) return [String(number), dot, "tombstone", "–", "–", written, expires];
  const kind = sibling.expires_ms && sibling.expires_ms <= Date.now() ? "expired" : "value";
  return [String(number), dot, kind, TYPES[sibling.content_type] ?? sibling.content_type, bytes(sibling.size), written, expires];
}

/** Six digits of the actor are enough for people. */
const short = dot => dot.slice(0, 6) + dot.slice(16);

function byDot(one, other) {
  const [a, b] = [one, other].map(dot => dot.split("."));
  return a[0] === b[0] ? Number(a[1]) - Number(b[1]) || Number(a[2]) - Number(b[2]) : a[0] < b[0] ? -1 : 1;
}
