// Next.js: an app with one route that imports tilewise builds without a setting, and the served route answers; by webpack,
// and by Turbopack with `check`'s second argument. Reader: someone who changes how the package finds its folder.

import { once } from 'node:events';
import { createServer } from 'node:net';

export const packages = { next: '16.4.6', react: '19.3.1', 'react-dom': '19.3.1' };

const route = `
  import { attention, Tensor, versions } from 'tilewise';
  export const dynamic = 'force-dynamic';
  export async function GET() {
    const q = new Tensor('float32', new Float32Array(32).fill(0.25), [1, 4, 2, 4]);
    const { out } = await attention(q, q, q);
    return Response.json({ version: versions.tilewise, dims: out.dims, first: out.data[0] });
  }`;

export async function check(project, builder = '--webpack') {
  project.write('app/layout.js', 'export default ({ children }) => <html><body>{children}</body></html>;');
  project.write('app/api/a/route.js', route);
  const env = { NEXT_TELEMETRY_DISABLED: '1' };
  project.expect(['/api/a'], project.bin('next'), ['build', builder], env);
  const port = await freePort();
  const server = project.start(project.bin('next'), ['start', '--port', String(port)], env);
  try {
    const answer = JSON.stringify(await answerOf(`http://127.0.0.1:${port}/api/a`));
    const expected = JSON.stringify({ version: project.version, dims: [1, 4, 2, 4], first: 0.25 });
    if (answer !== expected) throw new Error(`the route answers ${answer}, not ${expected}`);
  } finally {
    server.kill();
    await once(server, 'exit');
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

/** The answer of a server that may still be starting. */
async function answerOf(url) {
  for (let attempt = 0; ; ++attempt) {
    try {
      const response = await fetch(url);
      return response.ok ? await response.json() : `${response.status} ${await response.text()}`;
    } catch (error) {
      if (attempt === 120) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}
