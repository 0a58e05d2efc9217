// The demo: `npm run demo [-- file]` reads a text, `npm run demo -- --image [file.png]` cleans a picture, `npm run demo --
// --chat [--all] [beginning]` writes. Reader: someone meeting the package. Each of the three is a story of its own, in
// demo/text.mjs, demo/image.mjs and generate.mjs.
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  options: { image: { type: 'boolean' }, chat: { type: 'boolean' }, all: { type: 'boolean' } },
  allowPositionals: true,
});
const story = values.chat ? './generate.mjs' : values.image ? './demo/image.mjs' : './demo/text.mjs';
const { run } = await import(story);
await run(positionals[0], values);
