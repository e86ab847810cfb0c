// Conversations at once with a server that keeps browsers (tests/servers/keeping.py), by @modelcontextprotocol/client on
// revision 2026-07-28: node handles_client2.mjs URL CONVERSATIONS CALLS. Prints the answers that are not as they should be.

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const [url, conversations, calls] = process.argv.slice(2);

const textOf = (result) => result.content.map(({ text }) => text ?? '').join('');

async function converse(client, wrong) {
  const handle = textOf(await client.callTool({ name: 'open_browser', arguments: {} }));
  const created = await client.callTool({ name: 'create_session', arguments: {} });
  const session = created.structuredContent?.session_id ?? JSON.parse(textOf(created)).session_id;
  for (let turn = 1; turn <= Number(calls); turn += 1) {
    const said = [
      textOf(await client.callTool({ name: 'browse', arguments: { browser: handle } })),
      textOf(await client.callTool({ name: 'use_session', arguments: { session_id: session } })),
    ];
    for (const text of said) if (text !== `page ${turn}`) wrong.push(text);
  }
}

const client = new Client({ name: 'handles_client2', version: '0' }, { versionNegotiation: { mode: 'auto' } });
await client.connect(new StreamableHTTPClientTransport(new URL(url)));
await client.listTools();
const wrong = [];
const all = Array.from({ length: Number(conversations) }, () => converse(client, wrong));
for (const outcome of await Promise.allSettled(all)) if (outcome.status === 'rejected') wrong.push(`${outcome.reason}`);
console.log(JSON.stringify({ era: client.getProtocolEra(), wrong }));
await client.close();
process.exit(0);
