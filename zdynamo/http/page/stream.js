// The way events come: connected again whenever it breaks, and closed while nobody looks.

import { clock } from "./words.js";

const SILENT_MS = 4_000;   // without an event; a healthy stream has one each second
const AGAIN_MS = 1_000;    // before a stream that the browser has given up is opened anew
const HIDDEN_MS = 30_000;  // that a page may be out of sight before it lets go of its stream

/** `told`: {layout, moment, silent, connection}; the last with null, or with words for what is wrong. */
export function listen(told) {
  let source = null, heardAt = Date.now(), lost = null, hiding = 0;

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
      lose();
      if (source && source.readyState === EventSource.CLOSED) {  // such as after a 503: the browser will not try again
        close();
        setTimeout(() => source || document.hidden || open(), AGAIN_MS);
      }
    };
  };

  const close = () => {
    if (source) source.close();
    source = null;
  };

  const lose = () => {
    lost = lost || Date.now();
    told.connection(`Connection lost since ${clock(lost)}. Trying again ...`);
  };

  setInterval(() => {
    if (document.hidden || Date.now() - heardAt < SILENT_MS) return;
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
  addEventListener("pageshow", () => source || open());
  open();
}
