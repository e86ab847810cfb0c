// What a client program does and notes below its client: cookies, the session id, the answer to DELETE.

const PROTOCOL_VERSION = '2025-11-25';

/** Keeps one server's cookies by name; paths, domains and ages do not matter to it. */
class CookieJar {
  #values = new Map();

  keep(response) {
    for (const line of response.headers.getSetCookie()) {
      const [pair] = line.split(';');
      const [name, ...value] = pair.split('=');
      this.#values.set(name.trim(), value.join('=').trim());
    }
  }

  get header() {
    return [...this.#values].map(([name, value]) => `${name}=${value}`).join('; ');
  }
}

/** A `fetch` for one session, and what it noted. Node's own keeps no cookies, as most clients of this language. */
export class Wire {
  sessionId = undefined;
  deleteStatus = undefined;
  #jar;

  constructor({ keepsCookies }) {
    this.#jar = keepsCookies ? new CookieJar() : undefined;
    this.fetch = this.fetch.bind(this);
  }

  async fetch(url, init = {}) {
    const headers = new Headers(init.headers);
    if (this.#jar?.header) headers.set('cookie', this.#jar.header);
    const response = await fetch(url, { ...init, headers });
    this.#jar?.keep(response);
    this.sessionId = response.headers.get('mcp-session-id') ?? this.sessionId;
    if (init.method === 'DELETE') this.deleteStatus = response.status;
    return response;
  }
}

/** The HTTP status of a ping in that session, without cookies. */
export async function postInSession(url, sessionId) {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      'mcp-protocol-version': PROTOCOL_VERSION,
      'mcp-session-id': sessionId,
      connection: 'close',
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' }),
  });
  await response.body?.cancel();
  return response.status;
}
