// The cut: nodes of a graph in segments for onnxruntime, and the sites between them.
// Reader: someone who asks how many sessions a model becomes. A node is in the first segment that has what it reads; what is only
// made of constants is repeated where it is read; what nobody reads any more, masks and transposes around sites, falls away.

import type { GraphView } from '../onnx/graph-view.js';
import type { Node } from '../onnx/node.js';
import type { Site, Swap } from '../onnx/sites/site.js';

/** A site that is swapped. */
export type SwappedSite = Site & { readonly swap: Swap };

/** Nodes that run in one session. */
export interface Segment {
  readonly nodes: readonly Node[];
  /** Values that come from outside: the graph's inputs, of earlier segments, of sites. */
  readonly needs: readonly string[];
  /** Values that are read outside. */
  readonly gives: readonly string[];
}

/** A segment, and the sites that run after it. */
export interface Stage {
  readonly segment: Segment | undefined;
  readonly sites: readonly SwappedSite[];
}

/** The values that a site reads. */
export const readsOf = ({ swap: { q, k, v, masks } }: SwappedSite): string[] => [
  ...[q.value, k.value, v.value],
  ...masks.map(({ value }) => value),
];

/** Cuts a graph at sites. */
export function cut(view: GraphView, sites: readonly SwappedSite[]): Stage[] {
  const siteOf = new Map(sites.map((site) => [site.swap.out.value, site]));
  const live = liveNodes(view, siteOf);
  const { stageOf, count } = place(view, siteOf, live);
  const constants = new Map(
    live.filter((node) => !stageOf.has(node)).flatMap((node) => node.outputs.map((name) => [name, node])),
  );
  const outside = new Set([...view.graph.outputs.map(({ name }) => name), ...sites.flatMap(readsOf)]);
  const parts = Array.from({ length: count }, (_, stage) => {
    const own = live.filter((node) => stageOf.get(node) === stage);
    // Constants that a site or the caller reads come from the first segment; others are repeated.
    const kept = stage === 0 ? [...outside].flatMap((name) => constants.get(name) ?? []) : [];
    return partOf(view, live, [...new Set([...own, ...kept])], constants);
  });
  for (const { needs } of parts) for (const name of needs) outside.add(name);
  return parts.map(({ nodes, makes, needs }, stage) => ({
    segment: nodes.length > 0 ? { nodes, needs, gives: makes.filter((name) => outside.has(name)) } : undefined,
    sites: sites.filter((site) => stageOf.get(site) === stage),
  }));
}

/** Nodes with the constants that they read, in order; what they need from outside, and what they make for others. */
function partOf(view: GraphView, live: readonly Node[], own: readonly Node[], constants: ReadonlyMap<string, Node>) {
  const all = new Set(own);
  // A constant joins the set while it is gone through, so that what it reads joins as well.
  for (const node of all) for (const name of view.reads(node)) if (constants.has(name)) all.add(constants.get(name)!);
  const inner = new Set([...all].flatMap(({ outputs }) => outputs));
  const reads = new Set([...all].flatMap((node) => view.reads(node)));
  return {
    nodes: live.filter((node) => all.has(node)),
    needs: [...reads].filter((name) => !inner.has(name) && !view.initializers.has(name)),
    makes: own.flatMap(({ outputs }) => outputs),
  };
}

/** The nodes without which an output or a site would lack something, in order. */
function liveNodes(view: GraphView, siteOf: ReadonlyMap<string, SwappedSite>): Node[] {
  const wanted = new Set(view.graph.outputs.map(({ name }) => name));
  const live: Node[] = [];
  for (const node of view.graph.nodes.toReversed()) {
    const asked = node.outputs.filter((name) => wanted.has(name));
    for (const name of asked) for (const value of siteOf.has(name) ? readsOf(siteOf.get(name)!) : []) wanted.add(value);
    if (asked.every((name) => siteOf.has(name))) continue;
    for (const name of view.reads(node)) wanted.add(name);
    live.push(node);
  }
  return live.reverse();
}

/** Operators that give other numbers each time. */
const isRandom = ({ op }: Node): boolean => /^(Random|Bernoulli|Multinomial)/.test(op);

/** The stage of every node and site. Nodes of constants alone have none. */
function place(view: GraphView, siteOf: ReadonlyMap<string, SwappedSite>, live: readonly Node[]) {
  const stageOf = new Map<Node | SwappedSite, number>();
  const ready = new Map(
    view.graph.inputs.filter(({ name }) => !view.initializers.has(name)).map(({ name }) => [name, 0]),
  );
  const latest = (names: readonly string[]) => Math.max(-1, ...names.map((name) => ready.get(name) ?? -1));
  const isLive = new Set(live);
  let count = 1;
  for (const node of view.graph.nodes) {
    const site = node.outputs.map((name) => siteOf.get(name)).find((one) => one !== undefined);
    if (site) {
      const stage = Math.max(0, latest(readsOf(site)));
      stageOf.set(site, stage);
      ready.set(site.swap.out.value, stage + 1);
      count = Math.max(count, stage + 2);
    }
    if (!isLive.has(node)) continue;
    const stage = Math.max(latest(view.reads(node)), isRandom(node) ? 0 : -1);
    if (stage < 0) continue;
    stageOf.set(node, stage);
    for (const name of node.outputs) if (!siteOf.has(name)) ready.set(name, stage);
  }
  return { stageOf, count };
}
