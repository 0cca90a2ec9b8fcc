// What has been seen, for a few minutes, in this browser alone.

export const KEPT_MS = 300_000;

export class History {
  #points = [];

  /** A moment as it came. */
  add(moment) {
    const nodes = {};
    for (const node of moment.nodes) nodes[node.id] = slim(node.load, node.hints);
    const held = moment.nodes.flatMap(node => node.hints || []);
    this.#points.push({ at: moment.at_ms, total: slim(moment.total, held), nodes });
    while (this.#points.length && this.#points[0].at < moment.at_ms - KEPT_MS) this.#points.shift();
  }

  /** Points `{at, values}` of a node, or of all together for "". */
  of(id) {
    return this.#points.map(point => ({ at: point.at, values: (id ? point.nodes[id] : point.total) || {} }));
  }
}

/** What charts show of a load; where there is none, nothing. */
function slim(load, hints) {
  const values = { held: hints ? hints.reduce((sum, hint) => sum + hint.count, 0) : null };
  if (!load) return values;
  const { requests_per_s: requests, latency_ms: latency, brought_per_s: brought } = load;
  for (const kind of ["put", "get", "delete"]) values[kind] = requests[kind] ?? null;
  values.failed = load.failed_per_s;
  for (const kind of ["put", "get"]) {
    values[`${kind}50`] = latency[kind]?.p50 ?? null;
    values[`${kind}99`] = latency[kind]?.p99 ?? null;
  }
  return Object.assign(values, brought);
}
