// A colour for each node: of its own while there are no zones, else a shade of its zone's.

const OWN = ["#3f7fdb", "#e08a1e", "#2a9d78", "#b061a8", "#c7a412", "#58b4dc", "#99724a", "#8a94a6"];
const HUES = [215, 32, 160, 305, 50, 190, 0, 260];
const GOLDEN = 137.5;  // degrees: hues that are never close to each other

/** Map from id to colour. */
export function coloursOf(nodes) {
  const zones = [...new Set(nodes.map(node => node.zone))].sort();
  const found = new Map();
  if (zones.length < 2) {
    nodes.forEach((node, at) => found.set(node.id, OWN[at] || `hsl(${Math.round(at * GOLDEN % 360)} 50% 52%)`));
    return found;
  }
  zones.forEach((zone, place) => {
    const inside = nodes.filter(node => node.zone === zone);
    const hue = HUES[place] ?? Math.round(place * GOLDEN % 360);
    inside.forEach((node, at) => {
      const share = inside.length === 1 ? 0.5 : at / (inside.length - 1);
      found.set(node.id, `hsl(${hue} ${Math.round(72 - 22 * share)}% ${Math.round(40 + 28 * share)}%)`);
    });
  });
  return found;
}
