// The types of results, as a compiler knows them: the element type of q, in the class that the caller asked for.
// Reader: someone who reads a signature of attention(). No code.

import type { Tensor } from './tensor.js';
import type { DataTypes, FloatType } from './types.js';

/** What is known of a tensor of another library once its element type is. */
interface Known<T, E, Data> {
  readonly type: E;
  readonly data: Data;
  getData(releaseData?: boolean): Promise<Data>;
  reshape(dims: readonly number[]): Known<T, E, Data> & T;
}

/** A tensor of class `T` with elements of type `E`; `T` itself when its own fields are of no listed types. */
export type TypedAs<T, E extends FloatType> = [T] extends [Tensor]
  ? Tensor<E>
  : T extends { readonly type: infer Types; readonly data: infer Data }
    ? string extends Types
      ? T
      : [E] extends [Types]
        ? Pick<Known<T, E, Extract<Data, DataTypes[E]>>, Extract<keyof T, keyof Known<T, E, Data>>> & T
        : T
    : T;
