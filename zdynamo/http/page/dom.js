// Making elements. Whatever the cluster says goes in as text: nothing here, or anywhere on this page, parses markup.

const SVG = "http://www.w3.org/2000/svg";

/** `make("p.soft", {title: "..."}, "text", child)`; a function under `on...` is a listener; null and false are left out. */
export function make(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  return fill(made, attributes, children);
}

export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined && child !== false));
  return made;
}

export const byId = id => document.getElementById(id);

/** Only what has changed is touched, so that selections and screen readers are left alone. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A table that people read as cards on a phone, without columns that are `minor`; `cells` are texts or elements. */
export function table(label, columns, rows) {
  const kind = ({ number, minor }) => `${number ? ".number" : ""}${minor ? ".minor" : ""}`;
  const heads = columns.map(column => make(`th${kind(column)}`, { role: "columnheader", scope: "col" }, column.title));
  const lines = rows.map(row => make("tr", { role: "row" }, ...row.map((cell, at) =>
    make(`td${kind(columns[at])}`, { role: "cell", "data-title": columns[at].title }, cell))));
  return make("table", { role: "table", "aria-label": label },
    make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads)),
    make("tbody", { role: "rowgroup" }, ...lines));
}
