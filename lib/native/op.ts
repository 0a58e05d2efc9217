// An operation of the addon: where its numbers and views cross, and its calls.
// Reader: someone who adds an operation. Names are those of its file in binding/requests, looked up once, when the package
// loads.

import { type Flight, type NativeViews, native, type Refusal } from './native.js';

/** What crosses. */
export interface Crossing {
  readonly numbers: Float64Array;
  readonly views: NativeViews;
}

export class Op {
  /** How many of each a request has; of items, as often as there are parts or stages. */
  readonly fields: number;
  readonly views: number;
  readonly itemFields: number;
  readonly itemViews: number;
  /** Positions by name. */
  readonly field: (name: string) => number;
  readonly view: (name: string) => number;
  readonly itemField: (name: string) => number;
  readonly itemView: (name: string) => number;
  /** Where an operand goes: the first of its fields, and its view. */
  readonly place: (name: string) => { readonly field: number; readonly slot: number };
  readonly #name: string;
  readonly #device: number;

  constructor(name: string) {
    const names = native.ops[name];
    this.#name = name;
    [this.fields, this.field] = [names.fields.length, positions(names.fields)];
    [this.views, this.view] = [names.views.length, positions(names.views)];
    [this.itemFields, this.itemField] = [names.itemFields.length, positions(names.itemFields)];
    [this.itemViews, this.itemView] = [names.itemViews.length, positions(names.itemViews)];
    this.place = (name) => ({ field: this.field(`${name}Offset`), slot: this.view(name) });
    this.#device = this.field('device');
  }

  /** Every reason why a backend, available or not, could not run a call. */
  supports(device: number, { numbers, views }: Crossing): string[] {
    numbers[this.#device] = device;
    return native.supports(this.#name, numbers, views);
  }

  /** Runs a call on this thread. */
  run(device: number, { numbers, views }: Crossing): Refusal {
    numbers[this.#device] = device;
    return native.run(this.#name, numbers, trimmed(views));
  }

  /** Starts a call on the backend's threads; a brief one has run when it returns undefined. */
  submit(device: number, { numbers, views }: Crossing): Flight | string[] | undefined {
    numbers[this.#device] = device;
    return native.submit(this.#name, numbers, trimmed(views));
  }
}

/** Views without those behind the last one, which native code would ask for in vain. */
function trimmed(views: NativeViews): NativeViews {
  while (views.length > 0 && views[views.length - 1] === undefined) views.pop();
  return views;
}

/** Finds the position of a name in a list; names that are not there are mistakes in lib/. */
function positions(names: readonly string[]): (name: string) => number {
  return (name) => {
    const position = names.indexOf(name);
    if (position < 0) throw new Error(`binding/requests has no ${name}`);
    return position;
  };
}
