// Requests about keys, and what their answers carry: always bytes, since that is what is stored.

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** What cannot be asked for: said before it is tried. */
export class NotAsked extends Error {}

/** `what`: "keys" or "explain". Raises: NotAsked. */
export const pathOf = (what, bucket, key) => `v1/buckets/${partOf("bucket", bucket)}/${what}/${partOf("key", key)}`;

/** Of all keys of a bucket. Raises: NotAsked. */
export const listPath = bucket => `v1/buckets/${partOf("bucket", bucket)}/keys`;

function partOf(name, part) {
  if (!part) throw new NotAsked(`Give a ${name}.`);
  if (part === "." || part === "..") {
    const why = "it takes it for a step in the path. Use the command line.";
    throw new NotAsked(`A browser cannot ask for the ${name} ${part}: ${why}`);
  }
  if (!part.isWellFormed()) throw new NotAsked(`The ${name} is not well-formed text.`);
  return encodeURIComponent(part);
}

/** `{line, status, ok, headers, bytes}`; `line` says what was asked and what came of it. */
export async function ask(method, path, headers = {}, body = undefined) {
  const began = performance.now();
  let answer;
  try {
    answer = await fetch(path, { method, headers, body, cache: "no-store" });
  } catch {
    throw new NotAsked(`${method} /${path} was not answered: the connection is lost.`);
  }
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const took = Math.max(1, Math.round(performance.now() - began));
  const { status, ok, headers: told } = answer;
  return { line: `${method} /${path} → ${status} in ${took} ms`, status, ok, headers: told, bytes };
}

/** Text, or null if the bytes are none. */
export function textOf(bytes) {
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}

export const jsonOf = answer => JSON.parse(textOf(answer.bytes));

export function errorOf(answer) {
  try {
    return jsonOf(answer).error.message;
  } catch {
    return textOf(answer.bytes) || `status ${answer.status}`;
  }
}

/** The bytes of each part of a multipart/mixed answer, with their types. */
export function partsOf(answer) {
  const boundary = /boundary=([\w-]+)/.exec(answer.headers.get("content-type"))[1];
  const { bytes } = answer, found = [];
  let at = search(bytes, `--${boundary}`, 0);
  for (;;) {
    const begin = search(bytes, "\r\n\r\n", at), end = search(bytes, `\r\n--${boundary}`, begin + 2);
    if (begin < 0 || end < 0) return found;
    const type = /content-type: *([^\r\n]*)/i.exec(textOf(bytes.slice(at, begin)) || "");
    found.push({ type: type ? type[1] : "", bytes: bytes.slice(begin + 4, end) });
    at = end + 2;
  }
}

function search(bytes, text, from) {
  const wanted = new TextEncoder().encode(text);
  for (let at = from; at >= 0 && at + wanted.length <= bytes.length; at++) {
    if (wanted.every((byte, place) => bytes[at + place] === byte)) return at;
  }
  return -1;
}
