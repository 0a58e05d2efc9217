// Serving: `npm run serve` puts the small Llama of generate.mjs behind HTTP, many texts at a time on the pages of one KvPool.
// Reader: someone who serves a model. The steps are in serve/engine.mjs, HTTP is in serve/server.mjs.
//   npm run serve -- --port 8080 --pages 64 --page-size 16 --step-tokens 64 --beginning "Call me Ishmael. "
//   curl -N localhost:8080/generate -d '{ "prompt": "The whale ", "length": 100 }'
import { parseArgs } from 'node:util';
import { createServer } from './serve/server.mjs';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '8080' },
    pages: { type: 'string', default: '256' },
    'page-size': { type: 'string', default: '16' },
    'step-tokens': { type: 'string', default: '64' },
    beginning: { type: 'string', default: '' },
  },
});
const server = await createServer({
  pages: Number(values.pages),
  pageSize: Number(values['page-size']),
  stepTokens: Number(values['step-tokens']),
  beginning: values.beginning,
});
server.listen(Number(values.port), '127.0.0.1', () => {
  console.log(`http://localhost:${server.address().port}/ shows what is written; Ctrl+C ends it`);
});
