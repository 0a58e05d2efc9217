// The HTTP side of serving: POST /generate streams a text, GET /status is JSON, GET / a page to watch and start texts.
// Reader: someone who serves a model with node:http. A client that goes away stops its text. The page starts its texts without
// a stream, because browsers open six connections to a server and no more.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { Engine, RefusedError } from './engine.mjs';

const page = readFileSync(new URL('page.html', import.meta.url));
const mostBytes = 1 << 16;

/** A server that does not listen yet. Options are those of Engine.open(). */
export async function createServer(options) {
  const engine = await Engine.open(options);
  const routes = {
    'GET /': (_, response) => respond(response, 200, 'text/html', page),
    'GET /status': (_, response) => respondJson(response, engine.status()),
    'POST /generate': (request, response) => generate(engine, request, response),
    'POST /start': async (request, response) => {
      const wish = readWish(await readJson(request));
      respondJson(response, { id: engine.write({ ...wish, onCharacter() {}, onEnd() {} }) });
    },
    'POST /stop': async (request, response) => {
      engine.stop((await readJson(request)).id);
      respondJson(response, {});
    },
  };
  return http.createServer(async (request, response) => {
    const answer = routes[`${request.method} ${request.url}`];
    try {
      if (!answer) throw new RefusedError(`there is ${Object.keys(routes).join(', ')}`);
      await answer(request, response);
    } catch (error) {
      if (request.errored) return; // the client went away before it had said what it wants
      if (!(error instanceof RefusedError)) throw error;
      respond(response, answer ? 400 : 404, 'text/plain', `${error.message}\n`);
    }
  });
}

function respond(response, status, type, body) {
  response.writeHead(status, { 'content-type': `${type}; charset=utf-8` }).end(body);
}

const respondJson = (response, value) => respond(response, 200, 'application/json', JSON.stringify(value));

/** Streams the characters of a text as they are chosen. */
async function generate(engine, request, response) {
  const id = engine.write({
    ...readWish(await readJson(request)),
    onCharacter: (character) => response.write(character),
    onEnd: () => response.end(),
  });
  response.on('close', () => engine.stop(id));
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).flushHeaders();
}

async function readJson(request) {
  if (!(request.headers['content-length'] <= mostBytes)) {
    throw new RefusedError(`the body must have a content-length of at most ${mostBytes} bytes`);
  }
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    return Object(JSON.parse(Buffer.concat(chunks).toString()));
  } catch {
    throw new RefusedError('the body must be JSON, as { "prompt": "The whale ", "length": 100, "temperature": 0 }');
  }
}

function readWish({ prompt = '', length = 200, temperature = 0 }) {
  if (typeof prompt !== 'string') throw new RefusedError('`prompt` must be a string');
  if (!Number.isInteger(length) || length < 1) throw new RefusedError('`length` must be a whole number from 1');
  if (!Number.isFinite(temperature) || temperature < 0) throw new RefusedError('`temperature` must be a number from 0');
  return { prompt, length, temperature };
}
