// The ring: a band for each copy, from the first owner outside to the last inside; partitions clockwise from the top.

import { draw, make, say } from "./dom.js";
import { count, plural, stateOf } from "./words.js";

const OUTER = 236, HOLE = 118, GAP = 3;
const DRAWN_MAX = 4096;  // slivers; of more partitions each sliver stands for several, and shows the first of them
const LISTED_MAX = 5;    // owners in the middle of the ring

export class Ring {
  #layout = null;
  #moment = null;
  #colours = new Map();
  #nodes = new Map();
  #bands = [];      // {id, base, marks}: the arcs of one node in one band
  #pointed = null;  // a node whose arcs alone stand out
  #chosen = null;   // a partition
  #pinned = false;  // it stays when the pointer leaves

  constructor(place, told, legend, about) {
    this.#told = told;
    this.#legend = legend;
    this.#about = about;
    this.#arcs = draw("g");
    this.#short = draw("g");
    this.#outline = draw("path", { class: "outline" });
    this.#middle = draw("g", { class: "middle", "aria-hidden": "true" });
    this.#svg = draw("svg", {
      viewBox: "-268 -268 536 536", tabindex: "0", role: "slider", "aria-label": "Partition",
      "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0", "aria-valuetext": "none chosen",
    }, patterns(), this.#arcs, this.#short, this.#outline, this.#middle);
    place.append(this.#svg);
    this.#svg.addEventListener("pointermove", event => this.#pinned || this.#look(this.#at(event)));
    this.#svg.addEventListener("pointerleave", () => this.#pinned || this.#look(null));
    this.#svg.addEventListener("click", event => this.#tap(this.#at(event)));
    this.#svg.addEventListener("keydown", event => this.#key(event));
  }

  #svg; #told; #legend; #about; #arcs; #short; #outline; #middle;

  lay(layout) {
    this.#layout = layout;
    this.#svg.setAttribute("aria-valuemax", Math.max(0, layout.owners.length - 1));
    if (this.#chosen >= layout.owners.length) this.#chosen = null;
    this.#redraw();
    if (this.#moment) this.show(this.#moment, this.#colours);
  }

  show(moment, colours) {
    this.#moment = moment;
    this.#colours = colours;
    this.#nodes = new Map(moment.nodes.map(node => [node.id, node]));
    for (const { id, base, marks } of this.#bands) {
      const node = this.#nodes.get(id), state = node ? stateOf(node).name : "down";
      set(base, "fill", colours.get(id) || "#888");
      set(base, "class", `arc ${state}${this.#pointed !== null && this.#pointed !== id ? " faint" : ""}`);
      set(marks, "fill", state === "alive" ? "none" : `url(#mark-${state})`);
      set(marks, "data-state", state);
    }
    this.#showShort();
    this.#showLegend();
    this.#showMiddle();
  }

  /** Only the arcs of this node stand out; null: all do. */
  point(id) {
    this.#pointed = id;
    for (const { id: of, base } of this.#bands) base.classList.toggle("faint", id !== null && of !== id);
  }

  /** From elsewhere on the page: where a key belongs. */
  choose(partition) {
    this.#pinned = partition !== null;
    this.#look(partition);
  }

  #redraw() {
    const { owners, ids, n, partitions } = this.#layout;
    const shown = Math.min(owners.length, DRAWN_MAX), step = owners.length / (shown || 1);
    const copies = Math.max(1, ...owners.map(each => each.length));
    this.#bands = [];
    for (let band = 0; band < copies; band++) {
      const [outer, inner] = radii(band, copies), paths = new Map();
      for (let at = 0; at < shown; at++) {
        const owner = ids[owners[at * step][band]];
        if (owner !== undefined) paths.set(owner, (paths.get(owner) || "") + sector(at / shown, (at + 1) / shown, outer, inner));
      }
      for (const [id, d] of paths) {
        this.#bands.push({ id, base: draw("path", { d }), marks: draw("path", { d, class: "marks", fill: "none" }) });
      }
    }
    const ticks = owners.length ? [0, 1, 2, 3].map(quarter => tick(quarter, owners.length)) : [];
    const empty = owners.length ? [] : [draw("path", { d: sector(0, 0.5, OUTER, HOLE) + sector(0.5, 1, OUTER, HOLE), class: "empty" })];
    this.#arcs.replaceChildren(...empty, ...this.#bands.flatMap(({ base, marks }) => [base, marks]), ...ticks);
    this.#arcs.classList.toggle("fine", shown > 512);
    const several = step > 1 ? `; each sliver stands for ${step}` : "";
    const each = plural(Math.min(n, copies), "copy", "copies");
    say(this.#about, `${count(partitions)} partitions, ${each} each${several}`);
  }

  /** A rim outside of partitions of which not all owners are alive. */
  #showShort() {
    const { owners, ids } = this.#layout || { owners: [], ids: [] };
    const shown = Math.min(owners.length, DRAWN_MAX), step = owners.length / (shown || 1);
    let fewer = "", few = "";
    for (let at = 0; at < shown; at++) {
      const { alive, total } = this.#alive(at * step);
      if (alive === total) continue;
      const d = sector(at / shown, (at + 1) / shown, OUTER + 10, OUTER + 4);
      if (alive < Math.min(this.#moment.quorum || 1, total)) few += d;
      else fewer += d;
    }
    const rims = [["fewer", fewer], ["few", few]].filter(([, d]) => d);
    this.#short.replaceChildren(...rims.map(([name, d]) => draw("path", { d, class: name })));
  }

  #alive(partition) {
    const { owners, ids } = this.#layout;
    const states = owners[partition].map(place => this.#nodes.get(ids[place])?.state);
    return { alive: states.filter(state => state === "alive").length, total: states.length };
  }

  #showLegend() {
    const zones = [...new Set(this.#moment.nodes.map(node => node.zone))].sort();
    const groups = zones.map(zone => make("div.zone", { role: "group", "aria-label": zone ? `zone ${zone}` : "nodes" },
      zones.length > 1 || zone ? make("span.zone-name", {}, zone ? `zone ${zone}` : "no zone") : null,
      ...this.#moment.nodes.filter(node => node.zone === zone).map(node => this.#chip(node))));
    const key = groups.map(group => group.textContent).join();
    if (this.#legend.dataset.key === key) return;  // left alone while it says the same
    this.#legend.dataset.key = key;
    this.#legend.replaceChildren(...groups);
  }

  #chip(node) {
    const swatch = make("span.swatch", { "aria-hidden": "true" });
    swatch.style.background = this.#colours.get(node.id);
    const { mark, name: look } = stateOf(node);
    return make(`span.chip.${look}`, { onpointerenter: () => this.point(node.id), onpointerleave: () => this.point(null) },
      swatch, node.name, make("span.mark", {}, node.state === "alive" ? "" : ` ${mark} ${node.state}`));
  }

  #showMiddle() {
    const lines = this.#chosen === null ? this.#summary() : this.#owners();
    const height = 24, top = -(lines.length - 1) * height / 2 + 6;
    this.#middle.replaceChildren(...lines.map(({ text, class: name }, at) =>
      draw("text", { y: top + at * height, class: name || "" }, text.length > 24 ? `${text.slice(0, 23)}…` : text)));
  }

  #summary() {
    if (!this.#moment) return [{ text: "..." }];
    if (!this.#layout || !this.#layout.owners.length) return [{ text: "no layout yet", class: "strong" }, { text: "nobody owns a key" }];
    const { nodes } = this.#moment, others = nodes.filter(node => node.state !== "alive");
    const told = others.slice(0, 3).map(node => ({ text: `${stateOf(node).mark} ${node.name} ${node.state}`, class: stateOf(node).name }));
    if (others.length > 3) told.push({ text: `and ${others.length - 3} more` });
    return [{ text: `${nodes.length - others.length} of ${nodes.length}`, class: "huge" }, { text: "nodes alive" }, ...told];
  }

  #owners() {
    const { owners, ids } = this.#layout;
    const of = owners[this.#chosen].map(place => this.#nodes.get(ids[place]) || { name: ids[place], state: "down" });
    const lines = of.slice(0, LISTED_MAX).map((node, at) => ({
      text: `${at + 1}. ${stateOf(node).mark} ${node.name}${node.state === "alive" ? "" : ` ${node.state}`}`, class: stateOf(node).name,
    }));
    return [{ text: `partition ${this.#chosen}`, class: "strong" }, ...lines];
  }

  #look(partition) {
    if (!this.#layout || partition !== null && !this.#layout.owners[partition]) return;
    this.#chosen = partition;
    const total = this.#layout.owners.length;
    const d = partition === null ? "" : sector(partition / total, (partition + 1) / total, OUTER + 2, HOLE - 2);
    this.#outline.setAttribute("d", d);
    this.#showMiddle();
    const words = partition === null ? "" : this.#words(partition);
    say(this.#told, words);
    this.#svg.setAttribute("aria-valuenow", partition ?? 0);
    this.#svg.setAttribute("aria-valuetext", words || "none chosen");
  }

  #words(partition) {
    const { owners, ids } = this.#layout;
    const names = owners[partition].map(place => this.#nodes.get(ids[place])).map(node => node
      ? `${node.name}${node.zone ? ` in ${node.zone}` : ""}${node.state === "alive" ? "" : ` (${node.state})`}` : "unknown");
    const { alive, total } = this.#alive(partition);
    const verdict = alive === total ? "" : alive < Math.min(this.#moment.quorum || 1, total)
      ? " Fallbacks stand in: fewer owners are alive than R or W needs." : ` ${alive} of ${total} owners are alive.`;
    return `Partition ${partition}: ${names.join(", ")}.${verdict}`;
  }

  #tap(partition) {
    const same = this.#pinned && partition === this.#chosen;
    this.#pinned = partition !== null && !same;
    this.#look(same ? null : partition);
  }

  #at(event) {
    const box = this.#svg.getBoundingClientRect(), scale = 536 / box.width;
    const x = (event.clientX - box.left - box.width / 2) * scale, y = (event.clientY - box.top - box.height / 2) * scale;
    const radius = Math.hypot(x, y), total = this.#layout ? this.#layout.owners.length : 0;
    if (!total || radius < HOLE - 6 || radius > OUTER + 14) return null;
    return Math.floor((Math.atan2(x, -y) / (2 * Math.PI) + 1) % 1 * total);
  }

  #key(event) {
    const total = this.#layout ? this.#layout.owners.length : 0, at = this.#chosen;
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 16, PageDown: -16 };
    if (!total) return;
    if (event.key in steps) this.choose(at === null ? 0 : (at + steps[event.key] + total) % total);
    else if (event.key === "Home") this.choose(0);
    else if (event.key === "End") this.choose(total - 1);
    else if (event.key === "Escape") this.choose(null);
    else return;
    event.preventDefault();
  }
}

function set(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

function radii(band, copies) {
  const thick = (OUTER - HOLE - GAP * (copies - 1)) / copies;
  const outer = OUTER - band * (thick + GAP);
  return [outer, outer - thick];
}

function sector(from, to, outer, inner) {
  const point = (share, radius) => {
    const angle = 2 * Math.PI * share;
    return `${(radius * Math.sin(angle)).toFixed(2)} ${(-radius * Math.cos(angle)).toFixed(2)}`;
  };
  const large = to - from > 0.5 ? 1 : 0;
  const there = `M${point(from, outer)}A${outer} ${outer} 0 ${large} 1 ${point(to, outer)}`;
  return `${there}L${point(to, inner)}A${inner} ${inner} 0 ${large} 0 ${point(from, inner)}Z`;
}

function tick(quarter, total) {
  const [x, y] = [[0, -252], [258, 4], [0, 262], [-258, 4]][quarter];
  return draw("text", { x, y, class: "tick" }, String(quarter * total / 4));
}

/** What tells states apart without colour. */
function patterns() {
  const stripes = (id, size, angle, ...inside) => draw("pattern", {
    id: `mark-${id}`, width: size, height: size, patternUnits: "userSpaceOnUse", patternTransform: `rotate(${angle})`,
  }, ...inside);
  return draw("defs", {},
    stripes("down", 9, 45, draw("rect", { width: 4, height: 9, class: "ink-down" })),
    stripes("suspect", 9, 0, draw("circle", { cx: 4.5, cy: 4.5, r: 2.4, class: "ink-suspect" })),
    stripes("unreachable", 9, -45, draw("rect", { width: 3, height: 9, class: "ink-unreachable" })));
}
