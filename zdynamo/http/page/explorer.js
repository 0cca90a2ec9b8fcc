// The key explorer: get, put, delete, list and explain, with siblings side by side and a way to settle them.

import { byId, make, say } from "./dom.js";
import { explained } from "./explained.js";
import { NotAsked, ask, errorOf, jsonOf, listPath, partsOf, pathOf, textOf } from "./keys.js";
import { bytes as inBytes, moment, plural } from "./words.js";

const CONTEXT = "zdynamo-context";
const DATA = "application/msgpack";
const SHOWN_MAX = 20_000;  // characters of a value; more are not shown
const BYTES_MAX = 256;     // that are shown of a value that is no text
const LISTED = 50;         // keys at a time
const KEY_MAX = 40;        // characters of a key in a button or a heading
const SURE_MS = 5_000;     // in which a second tap on Delete deletes
const ABSENT = 404, SIBLINGS = 300;
const WRITES = ["PUT", "DELETE"];

/** What was asked for is not what is wanted any more: another request was made meanwhile. */
class Overtaken extends Error {}

export class Explorer {
  #form; #put; #answer; #explained; #choose; #button;
  #turn = 0;     // of what is wanted last: answers to anything earlier are dropped
  #seen = null;  // {bucket, key, context}: what the last answer showed, which a put may replace
  #sure = 0;     // the timer of a Delete that waits for its second tap; 0: none does

  /** `choose`: told the partition of a key that is explained. */
  constructor(section, choose) {
    this.#choose = choose;
    [this.#form, this.#put] = ["key-form", "put-form"].map(byId);
    [this.#answer, this.#explained] = ["answer", "explained"].map(byId);
    const actions = {
      explain: () => this.#try(ask => this.#explain(ask, this.#asked())),
      list: () => this.#try(ask => this.#list(ask, this.#asked())),
      delete: () => this.#deletePressed(),
    };
    section.addEventListener("click", event => {
      const act = actions[event.target.dataset?.do];
      if (act && event.detail < 2) act();  // a double click is one tap
    });
    this.#button = section.querySelector("[data-do=delete]");
    this.#button.addEventListener("keydown", event => event.repeat && event.preventDefault());  // held down is one tap
    this.#onSubmit(this.#form, ask => this.#get(ask, this.#asked()));
    this.#onSubmit(this.#put, ask => this.#putWhatIsGiven(ask, this.#asked()));
    for (const name of ["bucket", "key"]) this.#form.elements[name].addEventListener("input", () => this.#changed());
    this.#showReplace();
  }

  #onSubmit(form, work) {
    form.addEventListener("submit", event => {
      event.preventDefault();
      this.#try(work);
    });
  }

  async #get(ask, place) {
    const answer = await this.#show(ask, place);
    if (answer.status !== ABSENT) return;
    const absent = answer.headers.has(CONTEXT) ? "Deleted: there is a tombstone" : "There is no value";
    this.#answer.replaceChildren(make("p.calm", {}, `${absent} under this key.`));
  }

  /** What is under a key, and the answer that told it; nothing where there is nothing. */
  async #show(ask, place, tries = 3) {
    const answer = await ask("GET", pathOf("keys", place.bucket, place.key), { accept: "application/json" });
    this.#saw(answer, place);
    if (answer.status === SIBLINGS) return this.#siblings(ask, answer, place, tries);
    if (answer.ok) this.#answer.replaceChildren(card(`Value of ${named(place)}`, await this.#shown(ask, answer, place)));
    else if (answer.status !== ABSENT) this.#fail(errorOf(answer));
    return answer;
  }

  async #putWhatIsGiven(ask, place) {
    const { value, type, replace } = this.#put.elements;
    const headers = { "content-type": type.value };
    if (replace.checked && this.#knows(place)) headers[CONTEXT] = this.#seen.context;
    await this.#write(ask, place, headers, value.value);
  }

  #deletePressed() {
    const place = this.#asked();
    if (place.key && !this.#sure) return this.#askWhetherSure(place);
    this.#unsure();
    return this.#try(ask => this.#delete(ask, place));
  }

  /** A value that was written meanwhile stays, so it says what is there then. */
  async #delete(ask, place) {
    const knows = this.#knows(place), headers = knows ? { [CONTEXT]: this.#seen.context } : {};
    const answer = await ask("DELETE", pathOf("keys", place.bucket, place.key), headers);
    if (!answer.ok) {
      say(byId("request"), answer.line);
      return this.#fail(errorOf(answer));
    }
    const { status, ok } = await this.#show(ask, place);
    if (status === ABSENT) this.#answer.replaceChildren(make("p.calm", {}, "Deleted."));
    else if (ok || status === SIBLINGS) {
      const what = knows ? "shown" : "there";
      this.#answer.prepend(make("p.note", {}, `Deleted what was ${what}; what was written meanwhile is still there.`));
    }
    say(byId("request"), answer.line);
  }

  #askWhetherSure(place) {
    this.#sure = setTimeout(() => this.#unsure(), SURE_MS);
    say(this.#button, `Delete ${named(place)}?`);
    say(byId("request"), `Press Delete again to delete ${named(place)}.`);
  }

  #unsure() {
    clearTimeout(this.#sure);
    this.#sure = 0;
    say(this.#button, "Delete");
  }

  async #explain(ask, { bucket, key }) {
    const answer = await ask("GET", pathOf("explain", bucket, key));
    say(byId("request"), answer.line);
    if (!answer.ok) return this.#fail(errorOf(answer));
    const told = jsonOf(answer);
    this.#explained.replaceChildren(explained(told));
    if (told.owners.length) this.#choose(told.partition);
  }

  /** Keys that begin with what stands in the field; each is a button. */
  async #list(ask, { bucket, key }, after = "") {
    const query = new URLSearchParams({ limit: LISTED });
    if (key) query.set("prefix", key);
    if (after) query.set("after", after);
    const answer = await ask("GET", `${listPath(bucket)}?${query}`);
    say(byId("request"), answer.line);
    if (!answer.ok) return this.#fail(errorOf(answer));
    const lines = textOf(answer.bytes).trim().split("\n").map(line => JSON.parse(line)), last = lines.pop();
    const keys = lines.filter(line => "key" in line).map(line => this.#keyButton(bucket, line.key));
    const more = () => this.#try(ask => this.#list(ask, { bucket, key }, last.cursor));
    const next = last.done || !last.cursor ? null : make("button.chip-button", { type: "button", onclick: more }, "more ...");
    this.#answer.replaceChildren(keys.length || next
      ? make("div.keys", { role: "group", "aria-label": "Keys" }, ...keys, next) : make("p.calm", {}, "There is no such key."));
    if (last.error) this.#fail(last.error.message);
  }

  #keyButton(bucket, key) {
    if (typeof key !== "string") {
      return make("span.chip-button.off", { title: "no text: use the command line" }, `base64 ${key.base64}`);
    }
    const get = () => {
      this.#form.elements.bucket.value = bucket;
      this.#form.elements.key.value = key;
      this.#changed();
      return this.#try(ask => this.#get(ask, { bucket, key }));
    };
    return make("button.chip-button", { type: "button", onclick: get }, key);
  }

  /** In JSON they have their times, in multipart the bytes that are stored: what is shown is what can be kept. */
  async #siblings(ask, listed, place, tries) {
    const context = listed.headers.get(CONTEXT);
    const raw = await ask("GET", pathOf("keys", place.bucket, place.key), { accept: "multipart/mixed" });
    if (raw.status !== SIBLINGS || raw.headers.get(CONTEXT) !== context) {  // somebody has written in between
      if (tries > 1) return this.#show(ask, place, tries - 1);
      throw new NotAsked("The siblings are others each time: get the key again.");
    }
    const parts = partsOf(raw), { siblings } = jsonOf(listed);
    const cards = siblings.map((sibling, at) => card(`Sibling ${at + 1} of ${named(place)}`, {
      ...(parts[at].type === DATA ? dataShown(sibling.value) : shownOf(parts[at].type, parts[at].bytes)),
      about: `written ${moment(sibling.written_ms)}`,
    }, this.#keepButton(place, context, parts[at])));
    const told = `${plural(siblings.length, "sibling")}: concurrent writes, of which none has seen the other.`;
    this.#answer.replaceChildren(
      make("p.note", {}, `${told} Keep one, or put what settles it.`), make("div.siblings", {}, ...cards));
    return listed;
  }

  /** It puts one in the place of all that are shown with it, under their key, whatever stands in the form by then. */
  #keepButton(place, context, { type, bytes }) {
    const headers = { "content-type": type, [CONTEXT]: context };
    const keep = () => this.#try(ask => this.#write(ask, place, headers, bytes));
    return make("button", { type: "button", onclick: keep }, "Keep this one");
  }

  /** Data of Python clients is not text: it is asked for as JSON. */
  async #shown(ask, answer, { bucket, key }) {
    const type = answer.headers.get("content-type");
    if (type !== DATA) return shownOf(type, answer.bytes);
    const body = JSON.stringify({ operations: [{ op: "get", key }] });
    const told = await ask("POST", listPath(bucket), { "content-type": "application/json" }, body);
    const value = told.ok ? jsonOf(told).answers[0].value : undefined;
    return value === undefined ? shownOf(type, answer.bytes) : dataShown(value);
  }

  async #write(ask, place, headers, body) {
    const answer = await ask("PUT", pathOf("keys", place.bucket, place.key), headers, body);
    if (!answer.ok) {
      say(byId("request"), answer.line);
      return this.#fail(errorOf(answer));
    }
    await this.#get(ask, place);
    if (this.#explained.hasChildNodes()) await this.#explain(ask, place);
    say(byId("request"), answer.line);
  }

  #asked() {
    const { bucket, key } = this.#form.elements;
    return { bucket: bucket.value, key: key.value };
  }

  #saw(answer, { bucket, key }) {
    say(byId("request"), answer.line);
    const context = answer.headers.get(CONTEXT);
    this.#seen = context ? { bucket, key, context } : null;
    this.#showReplace();
  }

  #knows({ bucket, key }) {
    return this.#seen !== null && this.#seen.bucket === bucket && this.#seen.key === key;
  }

  #changed() {
    this.#unsure();
    this.#showReplace();
  }

  #showReplace() {
    const knows = this.#knows(this.#asked());
    this.#put.elements.replace.disabled = !knows;
    say(byId("replace-about"), knows ? "Replace exactly what is shown" : "Overwrite: nothing is shown yet");
  }

  #fail(message) {
    this.#answer.replaceChildren(make("p.failed", { role: "alert" }, message));
  }

  /** `work`: told how to ask. What it asks for is dropped once something else is wanted, but for writes that failed. */
  async #try(work) {
    const turn = ++this.#turn;
    const askInTurn = async (method, ...more) => {
      const answer = await ask(method, ...more);
      if (turn !== this.#turn && (answer.ok || !WRITES.includes(method))) throw new Overtaken();
      return answer;
    };
    try {
      await work(askInTurn);
    } catch (error) {
      if (error instanceof Overtaken) return;
      if (!(error instanceof NotAsked)) console.error(error);
      this.#fail(error.message);
    }
  }
}

function shownOf(type, bytes) {
  const text = textOf(bytes), about = inBytes(bytes.length);
  if (text === null) {
    const digits = [...bytes.slice(0, BYTES_MAX)].map(byte => byte.toString(16).padStart(2, "0")).join(" ");
    return { type, about, text: bytes.length > BYTES_MAX ? `${digits} ...` : digits };
  }
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

function named({ bucket, key }) {
  const brief = key.length > KEY_MAX ? `${key.slice(0, KEY_MAX)}…` : key;
  return bucket === "default" ? brief : `${brief} in ${bucket}`;
}

const dataShown = value => ({ type: DATA, about: "as JSON", text: JSON.stringify(value, null, 2) });

function card(title, { type, about, text }, ...more) {
  const rest = text.length - SHOWN_MAX;
  const cut = rest > 0 ? `${text.slice(0, SHOWN_MAX)}\n... (${plural(rest, "more character")})` : text;
  const kind = make("span.soft", {}, [type, about].filter(Boolean).join(" · "));
  return make("article.value", {}, make("header", {}, make("h3", {}, title), kind), make("pre", { tabindex: "0" }, cut), ...more);
}
