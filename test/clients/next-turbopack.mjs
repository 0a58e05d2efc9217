// Next.js by Turbopack, its default. Reader: that of next.mjs.

import { check as checkBy } from './next.mjs';

export { packages } from './next.mjs';

export const check = (project) => checkBy(project, '--turbopack');
