// What each TypeScript client program does in a session, written once: the same as ../matrix.py for Python.

import assert from 'node:assert/strict';
import { runDriven } from './driven.mjs';
import { Report, parseOptions, runProgram } from './report.mjs';
import { Wire, postInSession } from './wire.mjs';

const PROBE_URI = 'test://static-text';
const WATCHED_URI = 'test://watched-resource';
const STEPS = 5;
const LOG_LEVEL = 'warning';
const RETOUCH_MS = 500;
const GONE_POSTS = 3;

/** What arrives later: a queue whose `next` waits. */
class Arrivals {
  #items = [];
  #waiting = [];

  put(item) {
    const resolve = this.#waiting.shift();
    if (resolve) resolve(item);
    else this.#items.push(item);
  }

  next() {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The next item, or undefined if there is none in time. */
  async nextWithin(ms) {
    const { promise: late, resolve: giveUp } = Promise.withResolvers();
    const timer = setTimeout(giveUp, ms);
    const waiter = (item) => giveUp(item);
    if (this.#items.length > 0) giveUp(this.#items.shift());
    else this.#waiting.push(waiter);
    const item = await late;
    clearTimeout(timer);
    this.#waiting = this.#waiting.filter((other) => other !== waiter);
    return item;
  }
}

/** One session of one client: what the client is told and what it tells. */
class Visit {
  updatedUris = new Arrivals();
  // Pending while the user is away, and answers no question.
  userIsThere = Promise.resolve();

  constructor(number, options) {
    this.number = number;
    this.options = options;
    this.wire = new Wire({ keepsCookies: options.cookies === true });
    // What this session's user answers; no two sessions have the same.
    this.userName = `user ${number}`;
  }

  /** What the user says once they are there: who they are, or in a driven session which question that answers. */
  async userAnswers(question) {
    await this.userIsThere;
    return this.options.driven ? question : this.userName;
  }

  modelReply(text) {
    return `${this.userName} heard: ${text}`;
  }
}

async function progressInOrder(client) {
  const seen = new Arrivals();
  await client.call('progress', { steps: STEPS }, ({ progress }) => seen.put(progress));
  for (let step = 1; step <= STEPS; step += 1) assert.equal(await seen.next(), step);
}

async function bothEras(client, visit, report) {
  const check = (name, body) => report.check(visit.number, name, body);
  await check('tools', async () => {
    const names = await client.toolNames();
    for (const name of ['count', 'ask_name', 'sample']) assert.ok(names.includes(name), `no tool ${name}`);
  });
  await check('where', async () => {
    const where = JSON.parse(await client.call('where', {}));
    report.noteNode(where.node || String(where.pid));
  });
  await check('echo', async () => assert.equal(await client.call('echo', { text: visit.userName }), visit.userName));
  await check('progress', () => progressInOrder(client));
  await check('elicitation', async () => assert.equal(await client.call('ask_name', {}), visit.userName));
  await check('sampling', async () =>
    assert.equal(await client.call('sample', { text: 'hello' }), visit.modelReply('hello')),
  );
}

/** Waits until the client's GET stream is open: until then the server drops what it has to tell. */
async function openStream(client, visit) {
  await client.subscribe(PROBE_URI);
  let uri;
  while (uri === undefined) {
    await client.call('touch', { uri: PROBE_URI });
    uri = await visit.updatedUris.nextWithin(RETOUCH_MS);
  }
  assert.equal(uri, PROBE_URI);
  await client.unsubscribe(PROBE_URI);
}

async function nextUpdate(visit) {
  let uri = PROBE_URI;
  while (uri === PROBE_URI) uri = await visit.updatedUris.next();
  return uri;
}

async function subscribeAndTouch(client, visit) {
  await client.subscribe(WATCHED_URI);
  assert.equal(await client.call('touch', { uri: WATCHED_URI }), 'true');
  assert.equal(await nextUpdate(visit), WATCHED_URI);
  await client.unsubscribe(WATCHED_URI);
  assert.equal(await client.call('touch', { uri: WATCHED_URI }), 'false');
}

async function legacyOnly(client, visit, report) {
  const check = (name, body) => report.check(visit.number, name, body);
  for (let wanted = 1; wanted <= visit.options.calls; wanted += 1) {
    await check('count', async () => assert.equal(await client.call('count', {}), String(wanted)));
    if (report.hasFailed(visit.number, 'count')) break;
  }
  await check('log level', async () => {
    await client.setLogLevel(LOG_LEVEL);
    assert.equal(await client.call('log_level', {}), LOG_LEVEL);
  });
  await check('stream', () => openStream(client, visit));
  await check('subscription', () => subscribeAndTouch(client, visit));
  await check('delete', async () => {
    await client.terminate();
    assert.ok([200, 202, 204].includes(visit.wire.deleteStatus), `DELETE was answered ${visit.wire.deleteStatus}`);
  });
  await client.close();
  await check('gone', async () => {
    const { url } = visit.options;
    for (let post = 0; post < GONE_POSTS; post += 1) {
      assert.equal(await postInSession(url, visit.wire.sessionId), 404);
    }
  });
}

async function modernOnly(client, visit, report) {
  await report.check(visit.number, 'listen', async () => {
    const close = await client.listen(WATCHED_URI);
    await client.call('touch', { uri: WATCHED_URI });
    assert.equal(await visit.updatedUris.next(), WATCHED_URI);
    await close();
  });
  await report.check(visit.number, 'no session', async () => assert.equal(visit.wire.sessionId, undefined));
  await client.close();
}

/** Runs a client program. `connect` takes a visit and gives a client that has what the functions above call. */
// How long a call may take: on a busy machine some take longer than the minute that the clients give them.
export const CALL_MS = 300_000;

export async function runMatrix(clientName, connect, { canBeModern }) {
  const options = parseOptions();
  if (options.modern && !canBeModern) throw new Error(`${clientName} cannot be modern`);
  if (options.driven) return await runDriven(connect, new Visit(0, options));
  const report = new Report(clientName, options.sessions);
  await runProgram(options, report, async (number) => {
    const visit = new Visit(number, options);
    const client = await report.check(number, 'connect', () => connect(visit));
    if (client === undefined) return;
    await bothEras(client, visit, report);
    await (options.modern ? modernOnly : legacyOnly)(client, visit, report);
  });
}

/** The first text of a tool's answer. */
export function textOf(result) {
  const [{ text }] = result.content;
  if (result.isError) throw new Error(text);
  return text;
}

export async function elicitationAnswer(visit, params) {
  return { action: 'accept', content: { name: await visit.userAnswers(params.message) } };
}

export function samplingAnswer(visit, params) {
  const text = visit.modelReply(params.messages[0].content.text);
  return { role: 'assistant', content: { type: 'text', text }, model: 'none' };
}
