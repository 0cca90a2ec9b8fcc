// Brings what is heard to those who show it.

import { Charts } from "./charts.js";
import { coloursOf } from "./colours.js";
import { byId, say } from "./dom.js";
import { Explorer } from "./explorer.js";
import { History } from "./history.js";
import { Nodes } from "./nodes.js";
import { Ring } from "./ring.js";
import { listen } from "./stream.js";
import { UnderWay } from "./underway.js";
import { plural } from "./words.js";

const history = new History();
const ring = new Ring(byId("ring"), byId("partition"), byId("legend"), byId("ring-about"));
const nodes = new Nodes(byId("nodes"), byId("nodes-about"), id => ring.point(id));
const underWay = new UnderWay(byId("under-way"));
const charts = new Charts(byId("charts"), byId("charts-of"), history);
new Explorer(byId("explorer"), partition => ring.choose(partition));

listen({
  layout: layout => ring.lay(layout),
  moment: moment => {
    history.add(moment);
    const colours = coloursOf(moment.nodes);
    headline(moment);
    ring.show(moment, colours);
    nodes.show(moment, colours);
    underWay.show(moment);
    charts.show(moment.nodes);
  },
  silent: ({ error }) => warn(`The node behind this page does not answer: ${error}`, "no answer"),
  connection: warn,
});

function warn(problem, short) {
  const banner = byId("banner"), pill = byId("connection");
  banner.hidden = !problem;
  say(banner, problem || "");
  say(pill, problem ? short : "live");
  pill.dataset.state = problem ? "lost" : "live";
  byId("live").classList.toggle("stale", Boolean(problem));
}

function headline(moment) {
  const alive = moment.nodes.filter(node => node.state === "alive").length;
  const differ = Object.keys(moment.agree).filter(name => !moment.agree[name]);
  const told = [
    `${alive} of ${plural(moment.nodes.length, "node")} alive`,
    moment.layout === null ? "no layout yet" : `layout ${moment.layout}`,
    differ.length ? `nodes differ in ${differ.join(", ")}` : "all agree",
  ];
  say(byId("headline"), told.join(" · "));
  const by = moment.nodes.find(node => node.id === moment.seen_by);
  say(byId("seen-by"), `Cluster ${moment.cluster}, as ${by ? by.name : moment.seen_by} sees it.`);
  const title = alive < moment.nodes.length ? `(${moment.nodes.length - alive} not alive) zdynamo` : "zdynamo";
  if (document.title !== title) document.title = title;
}
