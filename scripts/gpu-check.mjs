// Is it right on this GPU: the primitives, the operations against their references, the conformance suite's random cases of every
// family on device 'cuda', compute-sanitizer over small runs of all of it. Runs in the checkout and, with plain Node, in what
// gpu-pack.mjs lays out. Reader: someone who is lent a GPU, and CI, where it says that there is none.
//   node scripts/gpu-check.mjs [OUT] [--seconds 280] [--require]
// OUT/results.json gets every check with its output. Without a GPU: 'left out, no GPU', an error only with --require.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '280' }, require: { type: 'boolean', default: false } },
});
const out = path.resolve(positionals[0] ?? path.join(root, 'build', 'gpu-check'));
const end = performance.now() + 1000 * Number(options.seconds);
const inBuild = (...names) => path.join(root, 'build', 'gpu', ...names);

function save(result) {
  mkdirSync(out, { recursive: true });
  writeFileSync(path.join(out, 'results.json'), `${JSON.stringify(result, null, 2)}\n`);
}

/** Why device 'cuda' cannot be used; undefined when it can. A library that does not load is no such reason: it throws. */
async function whyNoGpu() {
  const { native } = await import('../dist/native/native.js');
  const gpu = native.backends().find(({ name }) => name.startsWith('cuda'));
  return gpu?.isAvailable ? undefined : (gpu?.reason ?? 'this build has no CUDA backend');
}

/** What nvidia-smi says of the first GPU. */
function describeGpu() {
  const fields = ['name', 'driver_version', 'compute_cap', 'clocks.sm', 'power.draw', 'power.limit', 'memory.total'];
  const { stdout } = spawnSync('nvidia-smi', [`--query-gpu=${fields}`, '--format=csv,noheader'], { encoding: 'utf8' });
  const values = (stdout ?? '').split('\n')[0].split(', ');
  return Object.fromEntries(fields.map((field, i) => [field, values[i] ?? '']));
}

function findSanitizer() {
  const homes = [process.env.CUDA_HOME, process.env.CUDA_PATH, '/usr/local/cuda'].filter(Boolean);
  const folders = [...(process.env.PATH ?? '').split(':'), ...homes.map((home) => path.join(home, 'bin'))];
  return folders.map((folder) => path.join(folder, 'compute-sanitizer')).find(existsSync);
}

/** The tests of the primitives that run on this capability: sm_80's on everything later, sm_90a's on 9.0 alone. */
function primitivesPrograms(capability) {
  const folder = inBuild('conformance');
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return names
    .filter((name) => name === 'conformance.sm_80' || (name === 'conformance.sm_90a' && capability.startsWith('9.')))
    .map((name) => path.join(folder, name));
}

/** Everything to run, in order of worth; `seconds` is the most that a check may take. */
function checksFor(capability) {
  const primitives = primitivesPrograms(capability);
  const operations = {
    attention_checks: [200, 6],
    selection_checks: [60, 6],
    merge_checks: [60, 10],
    append_checks: [60, 10],
    rotary_checks: [60, 10],
    linear_checks: [60, 10],
    cumulative_checks: [60, 10],
    delta_checks: [60, 10],
    encode_checks: [60, 10],
    local_linear_checks: [40, 8],
    stats_checks: [60, 10],
    summary_checks: [60, 10],
  };
  const checks = primitives.map((program) => ({ name: path.basename(program), command: [program], seconds: 30 }));
  checks.push({ name: 'attention_checks each', command: [inBuild('attention_checks'), 'each'], seconds: 40 });
  for (const [name, [rounds]] of Object.entries(operations)) {
    checks.push({ name, command: [inBuild(name), String(rounds)], seconds: 40 });
  }
  // Ends by itself, with what it has found, 15 seconds before it would be ended.
  const library = (left) => [process.execPath, 'bench/hardware/library-checks.mjs', 'cuda', '300', String(left - 15)];
  checks.push({ name: "conformance suite on 'cuda'", command: library, seconds: 80 });
  const sanitizer = findSanitizer();
  // racecheck knows shared memory that warps write themselves; it sees no more than a part of what cp.async and TMA write.
  for (const tool of ['memcheck', 'racecheck']) {
    const small = Object.entries(operations).map(([name, [, rounds]]) => [inBuild(name), String(rounds)]);
    for (const program of [...primitives.map((file) => [file]), ...small]) {
      const name = `${tool}: ${path.basename(program[0])}`;
      const command = [sanitizer, '--error-exitcode', '9', '--print-limit', '20', '--tool', tool, ...program];
      checks.push(sanitizer ? { name, command, seconds: 60 } : { name, leftOut: 'there is no compute-sanitizer' });
    }
  }
  return checks;
}

/** Passed and failed, as programs print them; else the program is one check. */
function countsOf(output, isOk) {
  let [passed, failed] = [0, 0];
  for (const [, good, bad] of output.matchAll(/(\d+) (?:passed|ok), (\d+) failed/g)) {
    passed += Number(good);
    failed += Number(bad);
  }
  for (const line of output.split('\n').filter((text) => text.startsWith('{'))) {
    const { cases = {}, faultCount = 0 } = JSON.parse(line);
    const count = Object.values(cases).reduce((sum, n) => sum + n, 0);
    passed += Math.max(0, count - faultCount);
    failed += faultCount;
  }
  if (!isOk && failed === 0) failed = 1;
  return passed + failed > 0 ? { passed, failed } : { passed: Number(isOk), failed: Number(!isOk) };
}

function run({ name, command: given, seconds, leftOut }) {
  const left = Math.floor(Math.min(1000 * seconds, end - performance.now()));
  if (leftOut || left < 2000) return { name, leftOut: leftOut ?? 'no time left' };
  const command = typeof given === 'function' ? given(Math.floor(left / 1000)) : given;
  if (!existsSync(command[0])) return { name, leftOut: 'not built: npm run gpu:pack builds it' };
  const begin = performance.now();
  const settings = { cwd: root, encoding: 'utf8', timeout: left, killSignal: 'SIGKILL', maxBuffer: 1 << 26 };
  const { status, signal, stdout, stderr, error } = spawnSync(command[0], command.slice(1), settings);
  const output = `${stdout ?? ''}${stderr ?? ''}${error && !signal ? error.message : ''}`;
  const took = Number(((performance.now() - begin) / 1000).toFixed(1));
  // A sanitizer that is cut short has said nothing; anything else that is has hung.
  if (signal && name.includes(': ')) return { name, leftOut: `not over after ${took} s`, output: output.slice(-4000) };
  const leftByItself = /^left out, (.*)/m.exec(output);
  if (leftByItself) return { name, leftOut: leftByItself[1], output: output.slice(-4000) };
  const isOk = status === 0;
  return { name, seconds: took, rc: status ?? signal, ...countsOf(output, isOk), output: output.slice(-8000) };
}

function print(check) {
  const verdict = check.leftOut
    ? `left out, ${check.leftOut}`
    : `${check.passed} passed, ${check.failed} failed, ${check.seconds} s`;
  console.log(`${check.name}: ${verdict}`);
  if (check.failed > 0) console.log(check.output.trim().split('\n').slice(-12).join('\n'));
}

const reason = await whyNoGpu();
if (reason) {
  console.log(`left out, no GPU: ${reason}`);
  save({ leftOut: `no GPU: ${reason}`, checks: [], passed: 0, failed: 0 });
  process.exit(options.require ? 1 : 0);
}
const card = describeGpu();
console.log(Object.values(card).filter(Boolean).join(', ') || 'there is no nvidia-smi to name the GPU');
const checks = [];
const total = (field) => checks.reduce((sum, check) => sum + (check[field] ?? 0), 0);
for (const check of checksFor(card.compute_cap)) {
  checks.push(run(check));
  print(checks.at(-1));
  save({ date: new Date().toISOString().slice(0, 10), card, checks, passed: total('passed'), failed: total('failed') });
}
const leftOut = checks.filter((check) => check.leftOut).length;
console.log(`${total('passed')} passed, ${total('failed')} failed; ${leftOut} of ${checks.length} checks left out`);
const hasNothing = options.require && total('passed') === 0;
process.exit(total('failed') > 0 || hasNothing ? 1 : 0);
