// The page at /docs: each route of openapi.json as a form, and what it is answered.

import { byId, make, say } from "./dom.js";

try {
  const api = await (await fetch("openapi.json")).json();
  say(byId("about"), api.info.description);
  for (const [path, item] of Object.entries(api.paths)) {
    const methods = Object.entries(item).filter(([name]) => name !== "parameters");
    document.querySelector("main").append(...methods.map(([method, described]) =>
      route(method.toUpperCase(), path, [...(item.parameters || []), ...(described.parameters || [])], described)));
  }
} catch (error) {
  say(byId("about"), String(error));
}

function route(method, path, parameters, described) {
  const fields = parameters.map(({ name, in: place, description }) => {
    const made = field(name, description || (place === "path" ? "in the path" : ""));
    if (name === "bucket") made.input.value = "default";
    return { ...made, name, place };
  });
  const body = described.requestBody ? bodyOf(described.requestBody) : null;
  const out = make("pre", { hidden: true });
  const send = async () => {
    out.hidden = false;
    try {
      say(out, await answered(method, path, fields, body));
    } catch (error) {
      say(out, String(error));
    }
  };
  return make("details", {},
    make("summary", {}, make("b", {}, method), make("code", {}, path), make("br"), make("small", {}, described.summary)),
    ...fields.map(({ label }) => label), body?.type.label, body?.value.label,
    make("button", { onclick: send }, "Send"), out);
}

/** `{label, input}`. */
function field(name, about, tag = "input") {
  const input = make(tag);
  const told = make("span", {}, make("code", {}, name), make("br"), make("small", {}, about || ""));
  return { label: make("label", {}, told, input), input };
}

/** Fields for its type and for what it says. */
function bodyOf({ content, description }) {
  const type = field("Content-Type", "of the body"), value = field("body", description, "textarea");
  type.input.value = content["application/json"] ? "application/json" : "text/plain";
  const { example } = Object.values(content)[0];
  if (example) value.input.value = JSON.stringify(example);
  return { type, value };
}

/** Request and answer as text. */
async function answered(method, path, fields, body) {
  const headers = body ? { "Content-Type": body.type.input.value } : {}, query = new URLSearchParams();
  let url = path;
  for (const { name, place, input: { value } } of fields) {
    if (place === "path") url = url.replace(`{${name}}`, encodeURIComponent(value));
    else if (value === "") continue;
    else if (place === "query") query.set(name, value);
    else headers[name] = value;
  }
  if (query.size) url += `?${query}`;
  const answer = await fetch(url, { method, headers, body: body?.value.input.value });
  const said = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  return `${method} ${url}\n\n${answer.status} ${answer.statusText}\n${said}\n\n${await answer.text()}`;
}
