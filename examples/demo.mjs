// The demo: `npm run demo [-- file]` reads a text, `npm run demo -- --image [file.png]` cleans a picture.
// Reader: someone meeting the package. Each of the two is a story of its own, in demo/text.mjs and demo/image.mjs.
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({ options: { image: { type: 'boolean' } }, allowPositionals: true });
const { run } = await import(values.image ? './demo/image.mjs' : './demo/text.mjs');
await run(positionals[0]);
