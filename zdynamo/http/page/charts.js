// Lines over the last minutes, drawn anew each second.

import { draw, make, say } from "./dom.js";
import { KEPT_MS } from "./history.js";
import { count, ms } from "./words.js";

const HEIGHT = 150, LEFT = 56, RIGHT = 8, TOP = 8, BOTTOM = 20;
const BREAK_MS = 3_500;  // a longer time without a point is a gap, not a line
const MINUTE_MS = 60_000;

const SHOWN = [
  { title: "Requests a second", format: count, lines: [["put", "put"], ["get", "get"], ["delete", "delete"], ["failed", "failed"]] },
  { title: "Latency", format: ms, scale: byPowers, lines: [
    ["put50", "put p50"], ["put99", "put p99"], ["get50", "get p50"], ["get99", "get p99"]] },
  { title: "Records brought to replicas a second", format: count, lines: [
    ["read_repair", "read repair"], ["anti_entropy", "anti-entropy"], ["transfer", "transfer"], ["handoff", "handoff"]] },
  { title: "Records held for others (hints)", format: count, lines: [["held", "held"]] },
];

export class Charts {
  #select; #history; #charts; #hovered = null; #names = "";

  constructor(place, select, history) {
    this.#select = select;
    this.#history = history;
    this.#charts = SHOWN.map(shown => new Chart(shown, at => this.#hover(at)));
    place.append(...this.#charts.map(chart => chart.element));
    select.addEventListener("change", () => this.#redraw());
    new ResizeObserver(() => this.#redraw()).observe(place);
  }

  show(nodes) {
    const names = nodes.map(node => `${node.id} ${node.name}`).join();
    if (names !== this.#names) {
      this.#names = names;
      const chosen = this.#select.value;
      const options = nodes.map(node => make("option", { value: node.id }, node.name));
      this.#select.replaceChildren(make("option", { value: "" }, "all nodes"), ...options);
      if (nodes.some(node => node.id === chosen)) this.#select.value = chosen;
    }
    this.#redraw();
  }

  #hover(at) {
    this.#hovered = at;
    this.#redraw();
  }

  #redraw() {
    const points = this.#history.of(this.#select.value);
    for (const chart of this.#charts) chart.draw(points, this.#hovered);
  }
}

class Chart {
  #shown; #svg; #values; #when;

  constructor(shown, hover) {
    this.#shown = shown;
    this.#svg = draw("svg", { height: HEIGHT, role: "img", "aria-label": shown.title });
    this.#values = shown.lines.map(() => make("b"));
    this.#when = make("span.when.soft");
    const sample = at => draw("svg", { width: 18, height: 8, "aria-hidden": "true" },
      draw("path", { d: "M0 4H18", class: `line-${at}` }));
    const legend = make("div.lines", {}, ...shown.lines.map(([, name], at) =>
      make("span.line", {}, sample(at), `${name} `, this.#values[at])));
    this.element = make("figure.chart", {}, make("figcaption", {}, make("h3", {}, shown.title), this.#when), this.#svg, legend);
    this.#svg.addEventListener("pointermove", event =>
      hover((event.clientX - this.#svg.getBoundingClientRect().left - LEFT) / this.#width));
    this.#svg.addEventListener("pointerleave", () => hover(null));
  }

  get #width() {
    return Math.max(10, this.#svg.clientWidth - LEFT - RIGHT);
  }

  /** `hovered`: a share of the width, or null. */
  draw(points, hovered) {
    const { lines, format, scale = evenly } = this.#shown, width = this.#width;
    const now = points.length ? points[points.length - 1].at : 0, shown = spanOf(points, now);
    const { ticks, share } = scale(Math.max(0, ...points.flatMap(({ values }) => lines.map(([key]) => values[key] ?? 0))));
    const x = at => LEFT + width * (1 - (now - at) / shown), y = value => TOP + (HEIGHT - TOP - BOTTOM) * (1 - share(value));
    const parts = [];
    for (const tick of ticks) {
      parts.push(draw("path", { d: `M${LEFT} ${y(tick)}H${LEFT + width}`, class: "grid" }),
        draw("text", { x: LEFT - 6, y: y(tick) + 4, class: "axis end" }, format(tick).replace(".0 ms", " ms")));
    }
    parts.push(draw("text", { x: LEFT, y: HEIGHT - 4, class: "axis" }, `−${shown / MINUTE_MS} min`),
      draw("text", { x: LEFT + width, y: HEIGHT - 4, class: "axis end" }, "now"));
    lines.forEach(([key], at) => parts.push(draw("path", { d: path(points, key, x, y), class: `line-${at}` })));
    const pointed = hovered !== null && hovered >= 0 && points.length > 0;
    const seen = pointed ? nearest(points, now - (1 - hovered) * shown) : points[points.length - 1];
    if (pointed) parts.push(draw("path", { d: `M${x(seen.at)} ${TOP}V${HEIGHT - BOTTOM}`, class: "cross" }));
    this.#svg.replaceChildren(...parts);
    lines.forEach(([key], at) => say(this.#values[at], format(seen?.values[key])));
    say(this.#when, pointed ? `${Math.round((now - seen.at) / 1000)} s ago` : "");
  }
}

/** Whole minutes, as many as there is something to show of. */
const spanOf = (points, now) => points.length
  ? Math.min(KEPT_MS, Math.max(1, Math.ceil((now - points[0].at) / MINUTE_MS)) * MINUTE_MS) : MINUTE_MS;

function path(points, key, x, y) {
  let d = "", last = null;
  for (const { at, values } of points) {
    const value = values[key] ?? null;
    if (value === null) continue;
    d += `${last !== null && at - last < BREAK_MS ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    last = at;
  }
  return d;
}

const nearest = (points, at) => points.reduce((best, point) => Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best);

/** From nothing up to 1, 2 or 5 times a power of ten. */
function evenly(highest) {
  const power = 10 ** Math.floor(Math.log10(Math.max(highest, 1)));
  const most = [1, 2, 5, 10].map(times => times * power).find(each => each >= highest) || 1;
  return { ticks: [0, most / 2, most], share: value => value / most };
}

/** From 0.1 up to a power of ten: a median and a 99th percentile can be read from the same picture. */
function byPowers(highest) {
  const powers = Math.max(2, Math.ceil(Math.log10(Math.max(highest, 1))) + 1);
  return {
    ticks: Array.from({ length: powers + 1 }, (_, at) => 10 ** at / 10),
    share: value => Math.max(0, Math.log10(Math.max(value, 0.1) * 10)) / powers,
  };
}
