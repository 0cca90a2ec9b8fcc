// The way events come: connected again whenever it breaks, and closed while nobody looks.

import { NotAsked, ask, errorOf } from "./keys.js";
import { clock, span } from "./words.js";

const SILENT_MS = 4_000;   // without an event; a healthy stream has one each second
const AGAIN_MS = 1_000;    // before a stream that the browser has given up is opened anew
const LATER_MS = 60_000;   // the longest that a refusal makes it wait
const HIDDEN_MS = 30_000;  // that a page may be out of sight before it lets go of its stream

/** `told`: {layout, moment, silent, connection}; the last with null, or with words for what is wrong, long and short. */
export function listen(told) {
  let source = null, heardAt = Date.now(), lost = null, hiding = 0, notBefore = 0;

  const heard = handler => event => {
    heardAt = Date.now();
    lost = null;
    handler(JSON.parse(event.data));
  };

  const open = () => {
    close();
    heardAt = Math.max(heardAt, Date.now() - SILENT_MS / 2);
    source = new EventSource("v1/events");
    source.addEventListener("layout", heard(told.layout));
    source.addEventListener("moment", heard(document_ => { told.connection(null); told.moment(document_); }));
    source.addEventListener("silent", heard(told.silent));
    source.onerror = () => {
      if (source && source.readyState === EventSource.CLOSED) {  // such as after a 503: the browser will not try again
        close();
        askWhy();
      } else lose();
    };
  };

  const close = () => {
    if (source) source.close();
    source = null;
  };

  const lose = () => {
    lost = lost || Date.now();
    told.connection(`Connection lost since ${clock(lost)}. Trying again ...`, "connection lost");
  };

  /** A stream that is refused does not say why; the same request does, and when to come again. */
  const askWhy = async () => {
    let waitMs = AGAIN_MS;
    try {
      const answer = await ask("GET", "v1/events?limit=1");
      if (!answer.ok) {
        waitMs = Math.min(LATER_MS, Number(answer.headers.get("retry-after")) * 1_000 || AGAIN_MS);
        told.connection(`${errorOf(answer)}. Trying again in ${span(waitMs)} ...`, "refused");
      }
    } catch (error) {
      if (!(error instanceof NotAsked)) throw error;
      lose();
    }
    notBefore = Date.now() + waitMs;
    setTimeout(() => source || document.hidden || open(), waitMs);
  };

  setInterval(() => {
    if (document.hidden || Date.now() < notBefore || Date.now() - heardAt < SILENT_MS) return;
    lose();
    if (Date.now() - heardAt > 3 * SILENT_MS) {  // a connection may hang without an error
      heardAt = Date.now() - SILENT_MS;
      open();
    }
  }, 1_000);

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(close, HIDDEN_MS);
    else if (!source) open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", event => event.persisted && open());  // it comes back as it was left
  open();
}
