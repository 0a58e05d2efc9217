// The cut: nodes of a graph in segments for onnxruntime, and the sites between them.
// Reader: someone who asks how many sessions a model becomes. A node is in the first segment that has what it reads; what is only
// made of constants is repeated where it is read; what nobody reads any more, masks and transposes around sites, falls away.

import type { GraphView } from '../../onnx/graph-view.js';
import type { Node } from '../../onnx/node.js';
import type { Site, Swap } from '../../onnx/sites/site.js';

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
export function readsOf({ swap: { q, k, v, masks, keyLengths, sinks, cache } }: SwappedSite): string[] {
  const { past, counts, rotary } = cache ?? {};
  const others = [
    ...(keyLengths === undefined ? [] : [keyLengths]),
    ...(past ? [past.k.value, past.v.value] : []),
    ...(counts ? [counts.lastPlaces, counts.total] : []),
    ...(rotary ? [rotary.cos, rotary.sin, ...(rotary.positions ? [rotary.positions] : [])] : []),
    ...(typeof sinks === 'object' ? [sinks.value] : []),
  ];
  return [q.value, k.value, v.value, ...masks.map(({ value }) => value), ...others];
}

/** The values that a site makes. */
export function makesOf({ swap: { out, cache } }: SwappedSite): string[] {
  const presents = cache ? [cache.present.k.value, cache.present.v.value] : [];
  return [out.value, ...presents.filter((value) => value !== '')];
}

/** Cuts a graph at sites. */
export function cut(view: GraphView, sites: readonly SwappedSite[]): Stage[] {
  const siteOf = makersOf(sites);
  const live = liveNodes(view, sites);
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

const makersOf = (sites: readonly SwappedSite[]): ReadonlyMap<string, SwappedSite> =>
  new Map(sites.flatMap((site) => makesOf(site).map((name) => [name, site] as const)));

/** The nodes without which an output or a site would lack something, in order. */
export function liveNodes(view: GraphView, sites: readonly SwappedSite[]): Node[] {
  const siteOf = makersOf(sites);
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
  const ready = new Map<string, number>(view.graph.inputs.map(({ name }) => [name, 0]));
  for (const name of view.initializers.keys()) ready.set(name, -1);
  /** The stage that has these values; undefined while one of them is not placed. */
  const latest = (names: readonly string[]): number | undefined => {
    const stages = names.map((name) => ready.get(name) ?? (view.producer(name) ? undefined : -1));
    return stages.includes(undefined) ? undefined : Math.max(-1, ...(stages as number[]));
  };
  let count = 1;
  let left = inOrder(view, siteOf, live);
  while (left.length > 0) {
    // A site's values may be read before its last node: those readers wait for it.
    const waiting = left.filter((item) => {
      const stage = latest('swap' in item ? readsOf(item) : view.reads(item));
      if (stage === undefined) return true;
      if ('swap' in item) {
        const at = Math.max(0, stage);
        stageOf.set(item, at);
        for (const name of makesOf(item)) ready.set(name, at + 1);
        count = Math.max(count, at + 2);
        return false;
      }
      const at = Math.max(stage, isRandom(item) ? 0 : -1);
      if (at >= 0) stageOf.set(item, at);
      for (const name of item.outputs) if (!siteOf.has(name)) ready.set(name, at);
      return false;
    });
    if (waiting.length === left.length) throw new Error('a site reads what is made of its own values');
    left = waiting;
  }
  return { stageOf, count };
}

/** Live nodes, and sites where their outputs are made. */
function inOrder(view: GraphView, siteOf: ReadonlyMap<string, SwappedSite>, live: readonly Node[]) {
  const isLive = new Set(live);
  return view.graph.nodes.flatMap((node): (Node | SwappedSite)[] => [
    ...node.outputs.flatMap((name) => {
      const site = siteOf.get(name);
      return site?.swap.out.value === name ? [site] : [];
    }),
    ...(isLive.has(node) ? [node] : []),
  ]);
}
