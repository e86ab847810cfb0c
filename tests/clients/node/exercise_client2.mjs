// Exercises @modelcontextprotocol/client 2.x: node exercise_client2.mjs URL
// Left to itself it speaks the legacy era; with --modern it negotiates.

import assert from 'node:assert/strict';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { CALL_MS, elicitationAnswer, runMatrix, samplingAnswer, textOf } from './matrix.mjs';

async function connect(visit) {
  const client = new Client(
    { name: 'exercise_client2', version: '0' },
    {
      capabilities: { elicitation: {}, sampling: {} },
      versionNegotiation: { mode: visit.options.modern ? 'auto' : 'legacy' },
    },
  );
  client.setRequestHandler('elicitation/create', ({ params }) => elicitationAnswer(visit, params));
  client.setRequestHandler('sampling/createMessage', ({ params }) => samplingAnswer(visit, params));
  client.setNotificationHandler('notifications/resources/updated', ({ params }) => visit.updatedUris.put(params.uri));
  const transport = new StreamableHTTPClientTransport(new URL(visit.options.url), { fetch: visit.wire.fetch });
  await client.connect(transport);
  assert.equal(client.getProtocolEra(), visit.options.modern ? 'modern' : 'legacy');
  return {
    toolNames: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args, onprogress) =>
      textOf(await client.callTool({ name, arguments: args }, { onprogress, timeout: CALL_MS })),
    setLogLevel: (level) => client.setLoggingLevel(level),
    subscribe: (uri) => client.subscribeResource({ uri }),
    unsubscribe: (uri) => client.unsubscribeResource({ uri }),
    listen: async (uri) => {
      const subscription = await client.listen({ resourceSubscriptions: [uri] });
      return () => subscription.close();
    },
    terminate: () => transport.terminateSession(),
    close: () => client.close(),
  };
}

await runMatrix('client2', connect, { canBeModern: true });
