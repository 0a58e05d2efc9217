// fuse(): a model for onnxruntime, of which attention() runs the attention.
// Reader: someone who wants the package inside a model. The model is read, its attentions are found, and the graph is cut there.

import path from 'node:path';
import { busyWatch } from '../../call/busy.js';
import { show, TilewiseTypeError } from '../../check/errors.js';
import { checkBoolean, checkNames, invalid, is, namesOf } from '../../check/validate.js';
import { checkDevice, type DeviceName } from '../../tensor/devices.js';
import { GraphView } from '../onnx/graph-view.js';
import { type Model, readModel, type ValueInfo } from '../onnx/model.js';
import { readModelFile } from '../onnx/model-file.js';
import { type ElementType, elementTypes } from '../onnx/numbers.js';
import { findSites } from '../onnx/sites/find.js';
import type { Site, SitePattern } from '../onnx/sites/site.js';
import { withKnownShapes } from './caches/known-shapes.js';
import type { Ort, OrtMetadata, OrtTensor } from './ort.js';
import { checkSitePattern } from './pattern.js';
import { type Viewed, withNodesBefore } from './segments/before.js';
import { cut, makesOf, readsOf, type SwappedSite } from './segments/cut.js';
import { withMergedProjections } from './segments/merged-projections.js';
import { SegmentMemory } from './segments/segment-memory.js';
import { type Crossing, segmentModel } from './segments/segment-model.js';
import { SegmentRunner } from './segments/segment-runner.js';
import { withSharedTables } from './segments/shared-tables.js';
import { FusedSession, type RunStage } from './session.js';
import { SiteRunner } from './site-runner.js';

/** What fuse() can be told. */
export interface FuseOptions {
  /**
   * Options of onnxruntime, for every session that is made; `optimizedModelFilePath` is refused: each would write its own part of
   * the model there.
   */
  sessionOptions?: object;
  /**
   * Whether onnxruntime's threads go on spinning after a run. They hold the cores that attention needs, so that the default is
   * false.
   */
  spinning?: boolean;
  /** Which sites are swapped; default: all that can be. */
  only?: (site: Site) => boolean;
  /**
   * A pattern in the place of a site's causal order: `slidingWindow()`, `stridedShards()` or `blocks()`, whose `align` is the
   * model's; undefined: none. Padding goes on hiding, and a site whose mask is numbers stays with onnxruntime. A run rejects with
   * TilewiseError ERR_TILEWISE_UNSUPPORTED where only it shows that a mask is another one.
   */
  pattern?: (site: Site) => SitePattern | undefined;
  /** Where attention runs; default the first GPU that can, or the CPU. */
  device?: DeviceName;
}

const optionNames = namesOf<FuseOptions>({ sessionOptions: 1, spinning: 1, only: 1, pattern: 1, device: 1 });

/**
 * Makes a session of a model whose attention runs here, and everything else in onnxruntime.
 * @param ort the module: `import ort from 'onnxruntime-node'`
 * @param source a path of an .onnx file, or its bytes
 * @returns what has the shape of an InferenceSession; rejects with TypeError ERR_TILEWISE_INVALID_OPTION,
 *   ERR_TILEWISE_UNKNOWN_OPTION, with RangeError ERR_TILEWISE_INVALID_FILE, and with what onnxruntime rejects with
 */
export async function fuse<O extends Ort>(
  ort: O,
  source: string | Uint8Array,
  options: FuseOptions = {},
): Promise<FusedSession<InstanceType<O['Tensor']>>> {
  checkFuseOptions('fuse()', options);
  return openPrepared(ort, prepare(source, options));
}

/** Refuses options that are wrong. @param where the function that takes them, for errors */
export function checkFuseOptions(where: string, options: FuseOptions): void {
  checkNames(where, options, optionNames);
  const { only, pattern, spinning, device, sessionOptions } = options;
  if (device !== undefined) checkDevice('device', device);
  for (const [name, value] of Object.entries({ only, pattern })) {
    if (value !== undefined && typeof value !== 'function') throw invalid(name, 'a function of a site', value);
  }
  if (spinning !== undefined) checkBoolean('spinning', spinning);
  if (sessionOptions !== undefined && !is.object(sessionOptions)) {
    throw invalid('sessionOptions', "an object of onnxruntime's options", sessionOptions);
  }
  const { optimizedModelFilePath } = (sessionOptions ?? {}) as { optimizedModelFilePath?: unknown };
  if (optimizedModelFilePath !== undefined) {
    const expected = 'absent: a fused model is many sessions, and each would write its own part there';
    throw invalid('sessionOptions.optimizedModelFilePath', expected, optimizedModelFilePath);
  }
}

/** A model that was read, and its sites: those that will be swapped have a `swap`. */
export interface Prepared extends Viewed {
  readonly settings: Settings;
  readonly device: DeviceName | undefined;
  readonly sites: readonly Site[];
}

/** Reads a model and finds its sites. */
export function prepare(source: string | Uint8Array, options: FuseOptions): Prepared {
  const { only = () => true, pattern = () => undefined, spinning = false, device, sessionOptions = {} } = options;
  const model = read(source);
  const folder = model.file && path.dirname(model.file);
  const view = new GraphView(model, folder);
  const settings = spinning ? sessionOptions : withEntry(sessionOptions, 'intra_op', { allow_spinning: '0' });
  const sites = findSites(model, folder).map((site) => patterned(chosen(site, only), pattern));
  return { model, view, settings: withFolder(settings, view, folder), device, sites };
}

/** Opens a model cut at its sites; whole, if onnxruntime refuses the pieces. */
export async function openPrepared<O extends Ort>(
  ort: O,
  prepared: Prepared,
): Promise<FusedSession<InstanceType<O['Tensor']>>> {
  const { model, view } = prepared;
  const { attention, stages, shapes } = await openSwapped({ ort, ...prepared }, prepared.sites);
  if (prepared.settings.extra?.session?.intra_op?.allow_spinning === '0') busyWatch.rest();
  return new FusedSession({
    ...{ ort, attention, stages, shapes, constants: constantsOf(ort, view, stages) },
    inputs: model.graph.inputs.filter(({ name }) => !view.initializers.has(name)).map(metadataOf),
    outputs: model.graph.outputs.map(metadataOf),
  });
}

const metadataOf = ({ name, type, dims }: ValueInfo): OrtMetadata => ({
  ...{ name, isTensor: type !== undefined },
  ...(type && { type }),
  ...(dims && { shape: dims.map((length) => length ?? '') }),
});

function chosen(site: Site, only: (site: Site) => boolean): Site {
  if (!site.swap || only(site)) return site;
  return without(site, 'left out by `only`');
}

/** A site with the pattern that takes the place of its causal order, if it has one. */
function patterned(site: Site, pattern: (site: Site) => SitePattern | undefined): Site {
  const given = site.swap && pattern(site);
  if (given === undefined) return site;
  const checked = checkSitePattern(given);
  if (site.swap?.keyLengths)
    return without(site, 'its keys are counted by nonpad_kv_seqlen, and `pattern` has another place');
  if (site.mask !== 'additive') return { ...site, pattern: checked };
  return without(site, 'its mask is numbers, and `pattern` takes the place of causal order alone');
}

/** A site that stays with onnxruntime. */
export function without({ swap, ...site }: Site, reason: string): Site {
  return { ...site, reason };
}

function read(source: unknown): Model {
  if (source instanceof Uint8Array) return readModel(source);
  if (typeof source === 'string') return readModelFile(source);
  const message = `\`source\` must be a path or the bytes of an .onnx file in a Uint8Array, not ${show(source)}`;
  throw new TilewiseTypeError('ERR_TILEWISE_INVALID_OPTION', message);
}

type Settings = {
  readonly graphOptimizationLevel?: unknown;
  readonly extra?: {
    readonly session?: Readonly<Record<string, unknown>> & {
      readonly intra_op?: { readonly allow_spinning?: unknown };
    };
  };
};

/** One more entry of a session's configuration; the caller's own wins. */
function withEntry(settings: Settings, name: string, value: unknown): Settings {
  const session = settings.extra?.session ?? {};
  const own = session[name];
  const merged = is.object(value) && is.object(own) ? { ...value, ...own } : (own ?? value);
  return { ...settings, extra: { ...settings.extra, session: { ...session, [name]: merged } } };
}

/** Weights outside the model are found in its folder: onnxruntime gets bytes, which have none. */
function withFolder(settings: Settings, { initializers }: GraphView, folder: string | undefined): Settings {
  const isNeeded = folder !== undefined && [...initializers.values()].some(({ external }) => external !== undefined);
  return isNeeded ? withEntry(settings, 'model_external_initializers_file_folder_path', folder) : settings;
}

/** What sessions are opened of. */
interface Opening extends Viewed {
  readonly ort: Ort;
  readonly device: DeviceName | undefined;
  readonly settings: Settings;
}

/** Opens the model cut at its sites; whole, if onnxruntime refuses the pieces. */
async function openSwapped(opening: Opening, attention: readonly Site[]) {
  const sites = attention.filter((site): site is SwappedSite => site.swap !== undefined);
  try {
    return { attention, ...(await open(opening, sites)) };
  } catch (error) {
    if (sites.length === 0) throw error;
    const reason = `onnxruntime refuses the graph without it: ${(error as Error).message}`;
    const left = attention.map((site) => (site.swap ? without(site, reason) : site));
    return { attention: left, ...(await open(opening, [])) };
  }
}

/** Each session would keep the memory of its largest run, and a model is many sessions: they take it from the process instead. */
const lean = { enableCpuMemArena: false, enableMemPattern: false };

/** Opens the segments in order: the types and dims that one gives are those that the next takes. */
async function open(opening: Opening, found: readonly SwappedSite[]) {
  const { ort, device } = opening;
  const settings = found.length > 0 ? { ...lean, ...opening.settings } : opening.settings;
  const whole = withNodesBefore(opening, found);
  // Without its optimizer onnxruntime would put weights side by side in every run.
  const isOptimized = settings.graphOptimizationLevel !== 'disabled';
  const { sites, ...merged } = isOptimized ? withMergedProjections(whole, found) : { ...whole, sites: found };
  const { model, view, shapes } = withKnownShapes(merged, sites);
  const said = [...view.infos, ...view.initializers];
  const known = new Map<string, Crossing>(said.map(([name, { type, dims }]) => [name, { type, dims }]));
  const stages: RunStage[] = [];
  const memory = new SegmentMemory();
  const masks = new Set(sites.flatMap(({ swap }) => swap.masks.map(({ value }) => value)));
  const isInner = (name: string) => !view.isOutput(name) && !masks.has(name);
  try {
    const file = model.file && path.basename(model.file);
    for (const { segment, sites: after } of withSharedTables(view, cut(view, sites), file)) {
      const pieces = segment && segmentModel(model, view, segment, (name) => known.get(name));
      // Where nothing is swapped onnxruntime reads the file itself, weights and all.
      const session =
        pieces &&
        (found.length === 0 && model.file !== undefined
          ? await ort.InferenceSession.create(model.file, settings)
          : await ort.InferenceSession.create(memory.bytesOf(pieces), settings));
      const before = stages.at(-1)?.segment;
      stages.push({
        segment: session && new SegmentRunner(session, segment.needs, isInner, before),
        sites: after.map((site) => new SiteRunner(ort, site, device)),
      });
      for (const output of session?.outputMetadata ?? []) known.set(output.name, crossingOf(output));
      for (const site of after) {
        const { value } = site.swap.v;
        const type = known.get(value)?.type ?? view.constant(value)?.type;
        for (const name of makesOf(site)) known.set(name, { type });
        known.set(site.swap.out.value, { type, dims: dimsOfOutput(site) });
      }
    }
    return { stages, shapes };
  } catch (error) {
    for (const { segment } of stages) await segment?.release();
    throw error;
  } finally {
    memory.release();
  }
}

/** The constants of the model that sites, several segments or the caller read, as tensors. */
function constantsOf(ort: Ort, view: GraphView, stages: readonly RunStage[]): Map<string, OrtTensor> {
  const names = new Set([
    ...stages.flatMap(({ segment }) => segment?.needs.filter((name) => view.initializers.has(name)) ?? []),
    ...stages.flatMap(({ sites }) => sites.flatMap(({ site }) => readsOf(site))),
    ...view.graph.outputs.map(({ name }) => name),
  ]);
  return new Map(
    [...names].flatMap((name) => {
      const stored = view.constant(name);
      if (!stored) return [];
      const data = stored.data(view.folder);
      return [[name, new ort.Tensor(stored.type as never, data as never, stored.dims)] as const];
    }),
  );
}

/** What onnxruntime says of an output. No dims may be dims that it does not know. */
function crossingOf({ type, shape = [] }: OrtMetadata): Crossing {
  const dims = shape.map((length) => (typeof length === 'number' ? length : undefined));
  return { type: elementType(type), ...(dims.length > 0 && { dims }) };
}

/** The dims of a site's output, as far as the model alone says them. */
function dimsOfOutput({ swap: { out }, queryHeads, valueDim }: SwappedSite): Crossing['dims'] {
  if (queryHeads === undefined || valueDim === undefined) return undefined;
  if (!out.order) return [undefined, undefined, queryHeads * valueDim];
  const sizes = [undefined, queryHeads, undefined, valueDim];
  return sizes.map((_, axis) => sizes[out.order!.indexOf(axis)]);
}

const elementType = (type: string | undefined): ElementType | undefined =>
  type !== undefined && type in elementTypes ? (type as ElementType) : undefined;
