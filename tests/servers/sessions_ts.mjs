// A server of the TypeScript SDK 1.x that keeps its sessions in a map, as that SDK's examples long did:
// what names no session of this process gets 400, where the specification asks for 404.
//
//     node sessions_ts.mjs PORT

import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';

// The packages are installed beside the TypeScript clients.
const require = createRequire(new URL('../clients/node/package.json', import.meta.url));
const { createMcpExpressApp } = require('@modelcontextprotocol/sdk/server/express.js');
const { McpServer } = require('@modelcontextprotocol/sdk/server/mcp.js');
const { StreamableHTTPServerTransport } = require('@modelcontextprotocol/sdk/server/streamableHttp.js');
const { isInitializeRequest } = require('@modelcontextprotocol/sdk/types.js');
const { z } = require('zod');

const textOf = (value) => ({ content: [{ type: 'text', text: String(value) }] });

function makeServer() {
  const server = new McpServer({ name: 'sessions', version: '1.0.0' });
  let calls = 0;
  server.registerTool('count', { description: 'Counts the calls of this session.' }, () => textOf(++calls));
  server.registerTool('where', { description: 'Says which process answers.' }, () => textOf(process.pid));
  server.registerTool(
    'work',
    {
      description: 'Reports progress, then works for a while, as many times as asked.',
      inputSchema: { steps: z.number().int(), seconds: z.number() },
    },
    async ({ steps, seconds }, { _meta, sendNotification }) => {
      for (let step = 1; step <= steps; step++) {
        const params = { progressToken: _meta?.progressToken, progress: step, total: steps };
        if (_meta?.progressToken !== undefined) await sendNotification({ method: 'notifications/progress', params });
        await new Promise((done) => setTimeout(done, seconds * 1000));
      }
      return textOf(`worked ${steps} times`);
    },
  );
  return server;
}

const transports = new Map();

async function openSession() {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (id) => transports.set(id, transport),
  });
  transport.onclose = () => transports.delete(transport.sessionId);
  await makeServer().connect(transport);
  return transport;
}

const app = createMcpExpressApp();

app.post('/mcp', async (request, response) => {
  const id = request.headers['mcp-session-id'];
  let transport = transports.get(id);
  if (!transport && !id && isInitializeRequest(request.body)) transport = await openSession();
  if (transport) return transport.handleRequest(request, response, request.body);
  const error = { code: -32000, message: 'Bad Request: No valid session ID provided' };
  return response.status(400).json({ jsonrpc: '2.0', error, id: null });
});

async function inSession(request, response) {
  const transport = transports.get(request.headers['mcp-session-id']);
  if (!transport) return response.status(400).send('Invalid or missing session ID');
  return transport.handleRequest(request, response);
}
app.get('/mcp', inSession);
app.delete('/mcp', inSession);

app.listen(Number(process.argv[2]), '127.0.0.1');
