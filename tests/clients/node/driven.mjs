// A client that does what standard input says, and says on standard output what it sees: see ../driven.py.

import { createInterface } from 'node:readline';

function say(saw, what) {
  process.stdout.write(`${JSON.stringify({ saw, ...what })}\n`);
}

async function call(client, { id, call: tool, arguments: args }) {
  try {
    const text = await client.call(tool, args, ({ progress }) => say('progress', { id, progress }));
    say('answer', { id, text });
  } catch (error) {
    say('error', { id, error: `${error?.name}: ${error?.message}`, reason: error?.data?.reason ?? null });
  }
}

async function tellOfUpdates(visit) {
  for (;;) say('updated', { uri: await visit.updatedUris.next() });
}

export async function runDriven(connect, visit) {
  process.on('unhandledRejection', (error) => console.error('unhandled:', error));
  let client;
  try {
    client = await connect(visit);
  } catch (error) {
    say('no session', { error: `${error?.name}: ${error?.message}` });
    return process.exit(0);
  }
  say('open', { session: visit.wire.sessionId });
  tellOfUpdates(visit);
  let userComes = () => {};
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    if (order.call !== undefined) call(client, order);
    else if (order.user === 'comes') userComes();
    else if (order.user === 'leaves') ({ promise: visit.userIsThere, resolve: userComes } = Promise.withResolvers());
    else break;
  }
  try {
    await client.terminate();
  } catch {
    // the status says it
  }
  await client.close();
  say('closed', { status: visit.wire.deleteStatus ?? null });
  return process.exit(0);
}
