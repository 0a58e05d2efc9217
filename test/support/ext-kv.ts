// The golden file of caches, selectors and score outputs, typed as far as selectors and statistics go. Reader: someone who
// compares with golden/ext-kv.json; its `notes` and `optionNotes` say what the fields mean.

import type { ExtInvalid, ExtSizes, ExtTensor } from './ext-patterns.js';
import { readGolden } from './golden.js';

export interface KvCase {
  readonly name: string;
  readonly op: string;
  readonly options: Record<string, unknown>;
  readonly dims: ExtSizes;
  readonly q: ExtTensor;
  readonly k: ExtTensor;
  readonly v: ExtTensor;
  readonly out: ExtTensor;
  readonly lse: ExtTensor;
  readonly [name: string]: unknown;
}

export const extKv = readGolden<{ cases: KvCase[]; invalid: ExtInvalid[] }>('ext-kv');

export const kvCasesOf = (op: string): KvCase[] => extKv.cases.filter((one) => one.op === op);
