// What is held for whom, what is being brought to whom, what is known to differ, and what operators should know.

import { make } from "./dom.js";
import { bytes, count, plural, span } from "./words.js";

const WAYS = { read_repair: "read repair", anti_entropy: "anti-entropy", transfer: "transfer", handoff: "hinted handoff" };

export class UnderWay {
  #place;

  constructor(place) {
    this.#place = place;
  }

  show(moment) {
    const lines = [...hints(moment), ...transfers(moment), ...repairs(moment), ...notices(moment)];
    const key = JSON.stringify(lines);
    if (this.#place.dataset.key === key) return;
    this.#place.dataset.key = key;
    this.#place.replaceChildren(lines.length
      ? make("ul.ways", {}, ...lines.map(([kind, text]) => make("li", {}, make(`span.kind.${kind}`, {}, kind), make("span", {}, text))))
      : make("p.calm", {}, "Nothing is under way: no hints, no transfers, no known differences."));
  }
}

function hints({ nodes }) {
  const names = new Map(nodes.map(node => [node.id, node.name]));
  return nodes.flatMap(node => (node.hints || []).filter(hint => hint.count).map(hint => {
    const since = hint.held_ms < 0 ? "" : `, for ${span(hint.held_ms)}`;
    const held = `${plural(hint.count, "record")} (${bytes(hint.bytes)})`;
    return ["hint", `${node.name} holds ${held} for ${names.get(hint.target) || hint.target}${since}`];
  }));
}

function transfers({ nodes }) {
  return nodes.filter(node => node.counters?.["partitions.unsettled"]).map(node => {
    const rate = node.load?.brought_per_s.transfer || 0;
    const behind = plural(node.counters["partitions.unsettled"], "partition");
    return ["transfer", `${node.name} gets ${behind} from the other owners: ${count(rate)} records/s`];
  });
}

function repairs({ nodes, total }) {
  const found = nodes.filter(node => node.counters?.["compare.known"]).map(node => {
    const known = plural(node.counters["compare.known"], "partition");
    const oldest = span(node.counters["compare.known_ms"] || 0);
    return ["repair", `${node.name} knows of ${known} that differ from another owner's, the oldest for ${oldest}`];
  });
  const brought = Object.entries(total?.brought_per_s || {}).filter(([, rate]) => rate > 0);
  for (const [way, rate] of brought) found.push(["repair", `${count(rate)} records/s brought by ${WAYS[way] || way}`]);
  return found;
}

/** Each once, with all who say it. */
function notices({ nodes }) {
  const said = new Map();
  for (const node of nodes) for (const notice of node.notices || []) said.set(notice, [...(said.get(notice) || []), node.name]);
  return [...said].map(([notice, names]) => ["notice", `${names.join(", ")}: ${notice}`]);
}
