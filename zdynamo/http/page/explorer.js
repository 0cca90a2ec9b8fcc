// The key explorer: get, put, delete, list and explain, with siblings side by side and a way to settle them.

import { byId, make, say } from "./dom.js";
import { explained } from "./explained.js";
import { NotAsked, ask, errorOf, jsonOf, partsOf, pathOf, textOf } from "./keys.js";
import { bytes as inBytes, moment, plural } from "./words.js";

const CONTEXT = "zdynamo-context";
const SHOWN_MAX = 20_000;  // characters of a value; more are not shown
const LISTED = 50;         // keys at a time

export class Explorer {
  #form; #put; #answer; #explained; #choose;
  #seen = null;  // {bucket, key, context}: what the last answer showed, which a put may replace

  /** `choose`: told the partition of a key that is explained. */
  constructor(section, choose) {
    this.#choose = choose;
    [this.#form, this.#put] = ["key-form", "put-form"].map(byId);
    [this.#answer, this.#explained] = ["answer", "explained"].map(byId);
    section.addEventListener("click", event => {
      const what = event.target.dataset?.do;
      if (what) this.#try(() => this[what]());
    });
    this.#form.addEventListener("submit", event => { event.preventDefault(); this.#try(() => this.get()); });
    this.#put.addEventListener("submit", event => { event.preventDefault(); this.#try(() => this.put()); });
    for (const name of ["bucket", "key"]) this.#form.elements[name].addEventListener("input", () => this.#showReplace());
  }

  async get() {
    const { bucket, key } = this.#asked(), path = pathOf("keys", bucket, key);
    const answer = await ask("GET", path, { accept: "application/json" });
    this.#saw(answer, bucket, key);
    if (answer.status === 300) this.#showSiblings(jsonOf(answer), path, answer.headers.get(CONTEXT));
    else if (answer.ok) this.#answer.replaceChildren(card("Value", shownOf(answer.headers.get("content-type"), answer.bytes)));
    else if (answer.status === 404) this.#answer.replaceChildren(make("p.calm", {}, answer.headers.has(CONTEXT) ? "Deleted: there is a tombstone under this key." : "There is no value under this key."));
    else this.#fail(errorOf(answer));
  }

  async put() {
    const { bucket, key } = this.#asked(), { value, type, replace } = this.#put.elements;
    const headers = { "content-type": type.value };
    if (replace.checked && this.#knows(bucket, key)) headers[CONTEXT] = this.#seen.context;
    await this.#write(bucket, key, headers, value.value);
  }

  async delete() {
    const { bucket, key } = this.#asked();
    const answer = await ask("DELETE", pathOf("keys", bucket, key), this.#knows(bucket, key) ? { [CONTEXT]: this.#seen.context } : {});
    this.#saw(answer, bucket, key);
    if (answer.ok) this.#answer.replaceChildren(make("p.calm", {}, "Deleted."));
    else this.#fail(errorOf(answer));
  }

  async explain() {
    const { bucket, key } = this.#asked();
    const answer = await ask("GET", pathOf("explain", bucket, key));
    say(byId("request"), answer.line);
    if (!answer.ok) return this.#fail(errorOf(answer));
    const told = jsonOf(answer);
    this.#explained.replaceChildren(explained(told));
    if (told.owners.length) this.#choose(told.partition);
  }

  /** Keys that begin with what stands in the field; each is a button. */
  async list(after = "") {
    const { bucket, key } = this.#asked(), query = new URLSearchParams({ limit: LISTED });
    if (key) query.set("prefix", key);
    if (after) query.set("after", after);
    const answer = await ask("GET", `${pathOf("keys", bucket, "x").slice(0, -2)}?${query}`);
    say(byId("request"), answer.line);
    if (!answer.ok) return this.#fail(errorOf(answer));
    const lines = textOf(answer.bytes).trim().split("\n").map(line => JSON.parse(line)), last = lines.pop();
    const keys = lines.filter(line => "key" in line).map(line => this.#keyButton(line.key));
    const next = last.done || !last.cursor ? null : make("button.chip-button", { type: "button", onclick: () => this.#try(() => this.list(last.cursor)) }, "more ...");
    this.#answer.replaceChildren(keys.length || next ? make("div.keys", { role: "group", "aria-label": "Keys" }, ...keys, next) : make("p.calm", {}, "There is no such key."));
    if (last.error) this.#fail(last.error.message);
  }

  #keyButton(key) {
    if (typeof key !== "string") return make("span.chip-button.off", { title: "no text: use the command line" }, `base64 ${key.base64}`);
    return make("button.chip-button", { type: "button", onclick: () => this.#try(() => {
      this.#form.elements.key.value = key;
      return this.get();
    }) }, key);
  }

  #showSiblings({ siblings }, path, context) {
    const cards = siblings.map((sibling, at) => card(`Sibling ${at + 1}`, {
      type: sibling.content_type, about: `written ${moment(sibling.written_ms)}`,
      text: typeof sibling.value === "string" && sibling.content_type !== "application/json" ? sibling.value : JSON.stringify(sibling.value, null, 2),
    }, make("button", { type: "button", onclick: () => this.#try(() => this.#keep(path, at, context)) }, "Keep this one")));
    this.#answer.replaceChildren(
      make("p.note", {}, `${plural(siblings.length, "sibling")}: concurrent writes, of which none has seen the other. Keep one, or put what settles it.`),
      make("div.siblings", {}, ...cards));
  }

  /** Put the sibling's own bytes in the place of all of them; as JSON it would not always be the same value. */
  async #keep(path, at, context) {
    const { bucket, key } = this.#seen, again = await ask("GET", path, { accept: "multipart/mixed" });
    if (again.status !== 300 || again.headers.get(CONTEXT) !== context) throw new NotAsked("The siblings are others by now: get the key again.");
    const { type, bytes } = partsOf(again)[at];
    await this.#write(bucket, key, { "content-type": type, [CONTEXT]: context }, bytes);
  }

  async #write(bucket, key, headers, body) {
    const answer = await ask("PUT", pathOf("keys", bucket, key), headers, body);
    if (!answer.ok) {
      say(byId("request"), answer.line);
      return this.#fail(errorOf(answer));
    }
    await this.get();
    say(byId("request"), answer.line);
  }

  #asked() {
    const { bucket, key } = this.#form.elements;
    return { bucket: bucket.value, key: key.value };
  }

  #saw(answer, bucket, key) {
    say(byId("request"), answer.line);
    const context = answer.headers.get(CONTEXT);
    this.#seen = context ? { bucket, key, context } : null;
    this.#showReplace();
  }

  #knows(bucket, key) {
    return this.#seen !== null && this.#seen.bucket === bucket && this.#seen.key === key;
  }

  #showReplace() {
    const { bucket, key } = this.#asked(), knows = this.#knows(bucket, key);
    this.#put.elements.replace.disabled = !knows;
    say(byId("replace-about"), knows ? "Replace exactly what is shown" : "Overwrite: nothing is shown yet");
  }

  #fail(message) {
    this.#answer.replaceChildren(make("p.failed", { role: "alert" }, message));
  }

  async #try(work) {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof NotAsked)) console.error(error);
      this.#fail(error.message);
    }
  }
}

function shownOf(type, bytes) {
  const text = textOf(bytes), about = inBytes(bytes.length);
  if (text === null) return { type, about, text: `${[...bytes.slice(0, 256)].map(byte => byte.toString(16).padStart(2, "0")).join(" ")}${bytes.length > 256 ? " ..." : ""}` };
  if (type === "application/json") {
    try {
      return { type, about, text: JSON.stringify(JSON.parse(text), null, 2) };
    } catch { /* shown as it is */ }
  }
  return { type, about, text };
}

function card(title, { type, about, text }, ...more) {
  const cut = text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}\n... (${plural(text.length - SHOWN_MAX, "more character")})` : text;
  return make("article.value", {}, make("header", {}, make("h3", {}, title), make("span.soft", {}, [type, about].filter(Boolean).join(" · "))),
    make("pre", { tabindex: "0" }, cut), ...more);
}
