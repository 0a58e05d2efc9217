// Which keys a query sees by a pattern, whatever else a problem hides. Reader: someone who adds a pattern to the references: a line
// in the union, and one in ruleOf(). The rules themselves have files of their own.

import { type Blocks, blocksRule } from './blocks.js';
import { type Hierarchical, hierarchicalRule } from './hierarchical.js';
import {
  type Documents,
  documentsRule,
  type Moa,
  moaRule,
  type Power,
  powerRule,
  type SampledBlocks,
  type Slices,
  sampledRule,
  slicesRule,
} from './mask-rules.js';
import { type Neighborhood, neighborhoodRule } from './neighborhood.js';
import { type Ranges, rangesRule } from './ranges.js';
import { type StridedShards, shardsRule } from './strided-shards.js';

/** What a query sees beyond what causal, left and right say: both have to agree. */
export type PatternRule =
  | Neighborhood
  | StridedShards
  | Blocks
  | Ranges
  | Documents
  | Slices
  | Power
  | SampledBlocks
  | Moa
  | Hierarchical;

/** By the row of a query, its position, and the row of a key. */
type Rule = (query: number, position: number, key: number) => boolean;

interface Whose {
  batch: number;
  head: number;
  heads: number;
  kvHeads: number;
  placeOf: (key: number) => number; // the position of a key
}

const neighborhoods = new WeakMap<Neighborhood, ReturnType<typeof neighborhoodRule>>();

const byRows =
  (rule: (query: number, key: number) => boolean): Rule =>
  (i, _, j) =>
    rule(i, j);
const byPositions =
  (rule: (position: number, place: number) => boolean, placeOf: (key: number) => number): Rule =>
  (_, position, j) =>
    rule(position, placeOf(j));

/** The rule for one output head. */
export function ruleOf(pattern: PatternRule | undefined, whose: Whose): Rule {
  const { batch, head, heads, kvHeads, placeOf } = whose;
  switch (pattern?.kind) {
    case undefined:
      return () => true;
    case 'neighborhood': {
      const rule = neighborhoods.get(pattern) ?? neighborhoodRule(pattern);
      neighborhoods.set(pattern, rule);
      return byRows(rule);
    }
    case 'stridedShards':
      return byPositions(shardsRule(pattern, head, heads, kvHeads), placeOf);
    case 'blocks':
      return byRows(blocksRule(pattern, batch, head, heads));
    case 'ranges':
      return byRows(rangesRule(pattern, batch, head, heads));
    case 'documents':
      return byRows(documentsRule(pattern, batch));
    case 'slices':
      return byRows(slicesRule(pattern, head, heads));
    case 'power':
      return byPositions(powerRule(pattern), placeOf);
    case 'sampledBlocks':
      return byPositions(sampledRule(pattern, head, heads, kvHeads), placeOf);
    case 'moa':
      return byPositions(moaRule(pattern, head, heads), placeOf);
    case 'hierarchical':
      return hierarchicalRule(pattern, batch, head, heads);
  }
}
