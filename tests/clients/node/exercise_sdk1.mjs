// Exercises the client of @modelcontextprotocol/sdk 1.x: node exercise_sdk1.mjs URL

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CallToolResultSchema,
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { elicitationAnswer, runMatrix, samplingAnswer, textOf } from './matrix.mjs';

async function connect(visit) {
  const client = new Client(
    { name: 'exercise_sdk1', version: '0' },
    { capabilities: { elicitation: {}, sampling: {} } },
  );
  client.setRequestHandler(ElicitRequestSchema, () => elicitationAnswer(visit));
  client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => samplingAnswer(visit, params));
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => visit.updatedUris.put(params.uri));
  const transport = new StreamableHTTPClientTransport(new URL(visit.options.url), { fetch: visit.wire.fetch });
  await client.connect(transport);
  return {
    toolNames: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args, onprogress) =>
      textOf(await client.callTool({ name, arguments: args }, CallToolResultSchema, { onprogress })),
    setLogLevel: (level) => client.setLoggingLevel(level),
    subscribe: (uri) => client.subscribeResource({ uri }),
    unsubscribe: (uri) => client.unsubscribeResource({ uri }),
    terminate: () => transport.terminateSession(),
    close: () => client.close(),
  };
}

await runMatrix('sdk1', connect, { canBeModern: false });
