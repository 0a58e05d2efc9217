// tilewise/safetensors: weights in files, read a tensor at a time, and written.
// Reader: anyone who imports it. What is exported here is public.

export type { SafetensorsEntry, SafetensorsType } from './format.js';
export { openSafetensors, type SafetensorsFile } from './read.js';
export { type WriteSafetensorsOptions, writeSafetensors } from './write.js';
