// tilewise/onnxruntime: models for onnxruntime, with attention from here.
// Reader: anyone who imports it. What is exported here is public.

export type { MaskKind, Site, SiteKind, SitePattern } from '../onnx/sites/site.js';
export { type FuseOptions, fuse } from './fuse.js';
export type { Ort, OrtMetadata, OrtTensor } from './ort.js';
export { type Patch, type PatchedSession, patch } from './patch.js';
export type { FusedSession } from './session.js';
