// Numbers and states in words and marks.

export const STATES = {
  alive: { mark: "●", about: "alive" },
  suspect: { mark: "◐", about: "suspect: silent for longer than usual" },
  unreachable: { mark: "⊘", about: "unreachable from here, others reach it" },
  down: { mark: "✕", about: "down" },
};

/** `name` is a class of the style sheet, whatever state a later version may tell of. */
export const stateOf = node => Object.hasOwn(STATES, node.state)
  ? { ...STATES[node.state], name: node.state } : { mark: "?", about: node.state, name: "unknown" };

export function count(number) {
  if (number === null || number === undefined) return "–";
  if (number < 10 && number !== Math.trunc(number)) return number.toFixed(1);
  if (number < 10_000) return Math.round(number).toLocaleString("en");
  return number < 1e6 ? `${(number / 1e3).toFixed(1)}k` : `${(number / 1e6).toFixed(1)}M`;
}

export function bytes(size) {
  if (size === null || size === undefined || size < 0) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; size >= 1024 && at < units.length - 1; at++) size /= 1024;
  return `${at ? size.toFixed(1) : size} ${units[at]}`;
}

export function ms(number) {
  if (number === null || number === undefined) return "–";
  return `${number < 10 ? number.toFixed(1) : Math.round(number).toLocaleString("en")} ms`;
}

export function span(number) {
  const seconds = Math.floor(number / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor(seconds % 86_400 / 3600)} h`;
}

export const clock = at => new Date(at).toLocaleTimeString("en-GB");

export function moment(at) {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? `${at} ms` : `${date.toISOString().replace("T", " ").replace("Z", " UTC")}`;
}

export const plural = (number, noun, several = `${noun}s`) => `${count(number)} ${number === 1 ? noun : several}`;
