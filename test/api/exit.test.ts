// The end of the process: an idle addon does not hold it, calls in flight do, process.exit() does not wait for them.
// Reader: someone who debugs a hang or a crash at exit. Each test forks a process and looks at how it ended.

import { describe, expect, it } from 'vitest';
import { runScript } from '../support/script.js';

const clean = { code: 0, signal: null, stderr: '' };

describe('the process', () => {
  it('ends by itself when nothing is in flight', async () => {
    expect(await runScript('await importTilewise();')).toMatchObject(clean);
    expect(
      await runScript('const { attention } = await importTilewise(); await attention(...operands(64));'),
    ).toMatchObject(clean);
  });

  it('stays until the last call has settled', async () => {
    const ended = await runScript(`
      const { attention } = await importTilewise();
      attention(...operands(2000)).then(({ out }) => console.log('settled', out.data[0]));
      attention(...operands(20)).then(() => console.log('small one too'));
    `);
    expect(ended).toMatchObject(clean);
    expect(ended.stdout).toContain('settled 0.5');
    expect(ended.stdout).toContain('small one too');
  });

  it('exits cleanly by process.exit() with calls in flight, every time', async () => {
    for (let round = 0; round < 8; ++round) {
      const ended = await runScript(`
        const { attention } = await importTilewise();
        const [q, k, v] = operands(8192);
        for (let i = 0; i < 6; ++i) attention(q, k, v);
        setTimeout(() => process.exit(0), ${round * 3});
      `);
      expect(ended, `round ${round}`).toMatchObject(clean);
    }
  });

  it('exits with the code it was told, or by the error nobody caught', async () => {
    const script = (end: string) => `
      const { attention } = await importTilewise();
      const [q, k, v] = operands(8192);
      attention(q, k, v);
      setTimeout(() => { ${end} }, 5);
    `;
    expect(await runScript(script('process.exit(3)'))).toMatchObject({ code: 3, signal: null });
    expect(await runScript(script('throw new Error("on purpose")'))).toMatchObject({ code: 1, signal: null });
  });

  it('ends after an abort, without waiting for what was cancelled', async () => {
    const ended = await runScript(`
      const { attention } = await importTilewise();
      const [q, k, v] = operands(16384);
      await attention(q, k, v, { signal: AbortSignal.timeout(20) }).catch((error) => console.log(error.name));
    `);
    expect(ended).toMatchObject({ ...clean, stdout: 'TimeoutError\n' });
  });
});
