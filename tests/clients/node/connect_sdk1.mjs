// How a client of @modelcontextprotocol/sdk 1.x opens a session, whichever release of it that is.

import { CALL_MS, elicitationAnswer, samplingAnswer, textOf } from './matrix.mjs';

export function connectWith(name, { client: { Client }, transport: { StreamableHTTPClientTransport }, types }) {
  return async (visit) => {
    const client = new Client({ name, version: '0' }, { capabilities: { elicitation: {}, sampling: {} } });
    client.setRequestHandler(types.ElicitRequestSchema, ({ params }) => elicitationAnswer(visit, params));
    client.setRequestHandler(types.CreateMessageRequestSchema, ({ params }) => samplingAnswer(visit, params));
    client.setNotificationHandler(types.ResourceUpdatedNotificationSchema, ({ params }) =>
      visit.updatedUris.put(params.uri),
    );
    const transport = new StreamableHTTPClientTransport(new URL(visit.options.url), { fetch: visit.wire.fetch });
    await client.connect(transport);
    return {
      toolNames: async () => (await client.listTools()).tools.map(({ name }) => name),
      call: async (name, args, onprogress) =>
        textOf(await client.callTool({ name, arguments: args }, types.CallToolResultSchema, { onprogress, timeout: CALL_MS })),
      setLogLevel: (level) => client.setLoggingLevel(level),
      subscribe: (uri) => client.subscribeResource({ uri }),
      unsubscribe: (uri) => client.unsubscribeResource({ uri }),
      terminate: () => transport.terminateSession(),
      close: () => client.close(),
    };
  };
}
