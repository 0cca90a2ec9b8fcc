// The key explorer: get, put, delete, list and explain, with siblings side by side and a way to settle them.

import { byId, make, say } from "./dom.js";
import { explained } from "./explained.js";
import { NotAsked, ask, errorOf, jsonOf, partsOf, pathOf, textOf } from "./keys.js";
import { bytes as inBytes, moment, plural } from "./words.js";

const CONTEXT = "zdynamo-context";
const DATA = "application/msgpack";
const SHOWN_MAX = 20_000;  // characters of a value; more are not shown
const LISTED = 50;         // keys at a time
const KEY_MAX = 40;        // characters of a key in a button or a heading
const SURE_MS = 5_000;     // in which a second tap on Delete deletes
const ABSENT = 404, SIBLINGS = 300;

export class Explorer {
  #form; #put; #answer; #explained; #choose; #delete;
  #seen = null;  // {bucket, key, context}: what the last answer showed, which a put may replace
  #sure = 0;     // the timer of a Delete that waits for its second tap; 0: none does

  /** `choose`: told the partition of a key that is explained. */
  constructor(section, choose) {
    this.#choose = choose;
    [this.#form, this.#put] = ["key-form", "put-form"].map(byId);
    [this.#answer, this.#explained] = ["answer", "explained"].map(byId);
    section.addEventListener("click", event => {
      const what = event.target.dataset?.do;
      if (what && event.detail < 2) this.#try(() => this[what]());  // a double click is one tap
    });
    this.#delete = section.querySelector("[data-do=delete]");
    this.#delete.addEventListener("keydown", event => event.repeat && event.preventDefault());  // a key held down is one tap
    this.#form.addEventListener("submit", event => { event.preventDefault(); this.#try(() => this.get()); });
    this.#put.addEventListener("submit", event => { event.preventDefault(); this.#try(() => this.put()); });
    for (const name of ["bucket", "key"]) this.#form.elements[name].addEventListener("input", () => this.#changed());
    this.#showReplace();
  }

  async get() {
    const place = this.#asked(), answer = await this.#show(place);
    if (answer.status !== ABSENT) return;
    const words = answer.headers.has(CONTEXT) ? "Deleted: there is a tombstone under this key." : "There is no value under this key.";
    this.#answer.replaceChildren(make("p.calm", {}, words));
  }

  /** What is under a key, and the answer that told it; nothing where there is nothing. */
  async #show({ bucket, key }, tries = 3) {
    const path = pathOf("keys", bucket, key), answer = await ask("GET", path, { accept: "application/json" });
    this.#saw(answer, bucket, key);
    if (answer.status === SIBLINGS) return this.#siblings(answer, { bucket, key }, tries);
    if (answer.ok) this.#answer.replaceChildren(card("Value", await this.#shown(answer, bucket, key)));
    else if (answer.status !== ABSENT) this.#fail(errorOf(answer));
    return answer;
  }

  async put() {
    const { bucket, key } = this.#asked(), { value, type, replace } = this.#put.elements;
    const headers = { "content-type": type.value };
    if (replace.checked && this.#knows(bucket, key)) headers[CONTEXT] = this.#seen.context;
    await this.#write(bucket, key, headers, value.value);
  }

  /** At the second tap; a value that was written meanwhile stays, so it says what is there then. */
  async delete() {
    const { bucket, key } = this.#asked(), path = pathOf("keys", bucket, key);
    if (!this.#sure) return this.#askWhetherSure(key);
    this.#unsure();
    const knows = this.#knows(bucket, key), answer = await ask("DELETE", path, knows ? { [CONTEXT]: this.#seen.context } : {});
    if (!answer.ok) {
      say(byId("request"), answer.line);
      return this.#fail(errorOf(answer));
    }
    const { status, ok } = await this.#show({ bucket, key });
    if (status === ABSENT) this.#answer.replaceChildren(make("p.calm", {}, "Deleted."));
    else if (ok || status === SIBLINGS) {
      this.#answer.prepend(make("p.note", {}, `Deleted what was ${knows ? "shown" : "there"}; what was written meanwhile is still there.`));
    }
    say(byId("request"), answer.line);
  }

  #askWhetherSure(key) {
    this.#sure = setTimeout(() => this.#unsure(), SURE_MS);
    say(this.#delete, `Delete ${brief(key)}?`);
    say(byId("request"), `Press Delete again to delete ${brief(key)}.`);
  }

  #unsure() {
    clearTimeout(this.#sure);
    this.#sure = 0;
    say(this.#delete, "Delete");
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

  /** In JSON they have their times, in multipart the bytes that are stored: what is shown is what can be kept. */
  async #siblings(listed, place, tries) {
    const path = pathOf("keys", place.bucket, place.key), raw = await ask("GET", path, { accept: "multipart/mixed" }), context = listed.headers.get(CONTEXT);
    if (raw.status !== 300 || raw.headers.get(CONTEXT) !== context) {  // somebody has written in between
      if (tries > 1) return this.#show(place, tries - 1);
      throw new NotAsked("The siblings are others each time: get the key again.");
    }
    const parts = partsOf(raw), { siblings } = jsonOf(listed);
    const cards = siblings.map((sibling, at) => card(`Sibling ${at + 1}`, {
      ...(parts[at].type === DATA ? dataShown(sibling.value) : shownOf(parts[at].type, parts[at].bytes)),
      about: `written ${moment(sibling.written_ms)}`,
    }, make("button", { type: "button", onclick: () => this.#try(() => this.#keep(parts[at], context)) }, "Keep this one")));
    this.#answer.replaceChildren(
      make("p.note", {}, `${plural(siblings.length, "sibling")}: concurrent writes, of which none has seen the other. Keep one, or put what settles it.`),
      make("div.siblings", {}, ...cards));
    return listed;
  }

  /** In the place of all that are shown. */
  async #keep({ type, bytes }, context) {
    await this.#write(this.#seen.bucket, this.#seen.key, { "content-type": type, [CONTEXT]: context }, bytes);
  }

  /** Data of Python clients is not text: it is asked for as JSON. */
  async #shown(answer, bucket, key) {
    const type = answer.headers.get("content-type");
    if (type !== DATA) return shownOf(type, answer.bytes);
    const operations = [{ op: "get", key }];
    const told = await ask("POST", `v1/buckets/${encodeURIComponent(bucket)}/keys`, { "content-type": "application/json" }, JSON.stringify({ operations }));
    const value = told.ok ? jsonOf(told).answers[0].value : undefined;
    return value === undefined ? shownOf(type, answer.bytes) : dataShown(value);
  }

  async #write(bucket, key, headers, body) {
    const answer = await ask("PUT", pathOf("keys", bucket, key), headers, body);
    if (!answer.ok) {
      say(byId("request"), answer.line);
      return this.#fail(errorOf(answer));
    }
    await this.get();
    if (this.#explained.hasChildNodes()) await this.explain();
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

  #changed() {
    this.#unsure();
    this.#showReplace();
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
  return { type, about, text: type === "application/json" ? indented(text) : text };
}

/** Unless it says something else then: large numbers do not come out of a browser as they went in. */
function indented(text) {
  try {
    const value = JSON.parse(text), compact = text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, "$1");
    return JSON.stringify(value) === compact ? JSON.stringify(value, null, 2) : text;
  } catch {
    return text;
  }
}

const brief = key => key.length > KEY_MAX ? `${key.slice(0, KEY_MAX)}…` : key;

const dataShown = value => ({ type: DATA, about: "as JSON", text: JSON.stringify(value, null, 2) });

function card(title, { type, about, text }, ...more) {
  const cut = text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}\n... (${plural(text.length - SHOWN_MAX, "more character")})` : text;
  return make("article.value", {}, make("header", {}, make("h3", {}, title), make("span.soft", {}, [type, about].filter(Boolean).join(" · "))),
    make("pre", { tabindex: "0" }, cut), ...more);
}
