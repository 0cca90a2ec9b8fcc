// The members: whether they live, and what they have to do.

import { make, say, table } from "./dom.js";
import { bytes, count, ms, plural, span, stateOf } from "./words.js";

const COLUMNS = [
  { title: "Node" }, { title: "State" }, { title: "Busy" },
  { title: "Puts/s", number: true }, { title: "Gets/s", number: true },
  { title: "Put p99", number: true }, { title: "Get p99", number: true },
  { title: "Failed/s", number: true }, { title: "Held", number: true },
  { title: "Owns", number: true, minor: true }, { title: "Keys", number: true }, { title: "Disk", number: true },
];

const HOST_PORT = /^([\w.-]+|\[[\da-f:.]+\]):\d+$/i;

export class Nodes {
  #place; #about; #point; #table = null;

  /** `point`: told the id of the node that is pointed at, or null. */
  constructor(place, about, point) {
    this.#place = place;
    this.#about = about;
    this.#point = point;
  }

  show(moment, colours) {
    const made = table("Nodes", COLUMNS, moment.nodes.map(node => row(node, colours)));
    [...made.tBodies[0].rows].forEach((line, at) => {
      const node = moment.nodes[at];
      line.classList.add(stateOf(node).name);
      line.dataset.node = node.name;
      line.dataset.id = node.id;
      line.addEventListener("pointerenter", () => this.#point(node.id));
      line.addEventListener("pointerleave", () => this.#point(null));
    });
    if (this.#table && same(this.#table, made)) renew(this.#table, made);
    else this.#place.replaceChildren(this.#table = made);
    const alive = moment.nodes.filter(node => node.state === "alive").length;
    say(this.#about, alive === moment.nodes.length ? "all alive" : `${plural(moment.nodes.length - alive, "node")} not alive`);
  }
}

const names = table => [...table.tBodies[0].rows].map(line => line.dataset.id).join("\n");
const same = (one, other) => names(one) === names(other);

/** Only cells that say something else, so that what is pointed at or selected stays. */
function renew(table, made) {
  const fresh = [...made.tBodies[0].rows];
  [...table.tBodies[0].rows].forEach((line, at) => {
    line.className = fresh[at].className;
    [...fresh[at].cells].forEach((cell, place) => line.cells[place].isEqualNode(cell) || line.cells[place].replaceWith(cell));
  });
}

function row(node, colours) {
  const swatch = make("span.swatch", { "aria-hidden": "true" });
  swatch.style.background = colours.get(node.id);
  const where = [node.zone && `zone ${node.zone}`, node.address].filter(Boolean).join(" · ");
  const name = make("div.node-name", {}, swatch,
    make("div", {}, make("b", {}, pageOf(node)), make("small.soft", { title: node.id }, where)));
  const { mark, about, name: look } = stateOf(node);
  const up = node.uptime_ms === undefined ? about : `up ${span(node.uptime_ms)}, phi ${node.phi}`;
  const state = make(`span.state.${look}`, { title: up }, make("span", { "aria-hidden": "true" }, `${mark} `), node.state,
    node.error && node.state !== "down" ? make("small.soft", {}, node.error) : null);
  const load = node.load, latency = load?.latency_ms || {};
  const held = node.hints ? count(node.hints.reduce((sum, hint) => sum + hint.count, 0)) : "–";
  return [
    name, state, load ? meter(load.busy) : "–", count(load?.requests_per_s.put), count(load?.requests_per_s.get),
    ms(latency.put?.p99), ms(latency.get?.p99), count(load?.failed_per_s), held,
    count(node.owns), count(node.store?.keys),
    node.store && node.store.free_bytes >= 0 ? bytes(node.store.disk_bytes) : "–",
  ];
}

/** Its name, which leads to the page of that node, if it has one over TCP. */
const pageOf = ({ name, http }) =>
  HOST_PORT.test(http) ? make("a", { href: `http://${http}/`, title: `the page of ${name}` }, name) : name;

function meter(share) {
  const percent = Math.round(share * 100), bar = make("span.bar");
  bar.style.width = `${percent}%`;
  const told = { role: "meter", "aria-label": "busy", "aria-valuenow": percent, "aria-valuemin": 0, "aria-valuemax": 100 };
  return make(percent >= 85 ? "span.meter.high" : "span.meter", told,
    make("span.track", { "aria-hidden": "true" }, bar), make("span.figure", {}, `${percent}%`));
}
