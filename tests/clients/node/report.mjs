// What a client program prints, and the deadline under which it runs.

import { parseArgs } from 'node:util';

const STEP_MS = 10_000;

/** A client program's command line. `cookies` is undefined where the client shall do as it does by itself. */
export function parseOptions() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      cookies: { type: 'boolean' },
      'no-cookies': { type: 'boolean' },
      sessions: { type: 'string', default: '1' },
      calls: { type: 'string', default: '5' },
      deadline: { type: 'string', default: '60' },
      modern: { type: 'boolean', default: false },
      driven: { type: 'boolean', default: false },
    },
  });
  if (positionals.length !== 1) throw new Error('one argument is needed: the URL');
  return {
    url: positionals[0],
    cookies: values['no-cookies'] ? false : values.cookies,
    sessions: Number(values.sessions),
    calls: Number(values.calls),
    deadlineMs: Number(values.deadline) * 1000,
    modern: values.modern,
    driven: values.driven,
  };
}

function withDeadline(promise, ms) {
  const { promise: late, reject } = Promise.withResolvers();
  const timer = setTimeout(() => reject(new Error(`not done after ${ms} ms`)), ms);
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Counts the checks that passed and keeps those that failed. */
export class Report {
  #client;
  #sessions;
  #checks = {};
  #nodes = {};
  #failures = [];
  #current = new Map();

  constructor(client, sessions) {
    this.#client = client;
    this.#sessions = sessions;
  }

  /** Counts the body as passed, or notes why it failed and goes on behind it; its value, if it passed. */
  async check(session, name, body) {
    this.#current.set(session, name);
    try {
      const value = await withDeadline(body(), STEP_MS);
      this.#checks[name] = (this.#checks[name] ?? 0) + 1;
      return value;
    } catch (error) {
      this.fail(session, `${error?.name}: ${error?.message}`);
      return undefined;
    }
  }

  hasFailed(session, check) {
    return this.#failures.some((failure) => failure.session === session && failure.check === check);
  }

  fail(session, error) {
    this.#failures.push({ session, check: this.#current.get(session) ?? 'start', error });
  }

  noteNode(node) {
    this.#nodes[node] = (this.#nodes[node] ?? 0) + 1;
  }

  /** Prints the report and ends the process, whatever a client left running. */
  end() {
    const ok = this.#failures.length === 0;
    const report = {
      client: this.#client,
      ok,
      sessions: this.#sessions,
      checks: this.#checks,
      nodes: this.#nodes,
      failures: this.#failures,
    };
    process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(ok ? 0 : 1));
  }
}

/** Exercises all sessions at a time, until the last is done or the deadline has come. */
export async function runProgram(options, report, exercise) {
  process.on('unhandledRejection', (error) => console.error('unhandled:', error));
  const pending = new Set(Array(options.sessions).keys());
  const timer = setTimeout(() => {
    for (const session of pending) report.fail(session, `not done after ${options.deadlineMs} ms`);
    report.end();
  }, options.deadlineMs);
  await Promise.all(
    [...pending].map((session) =>
      exercise(session)
        .catch((error) => report.fail(session, `${error?.name}: ${error?.message}`))
        .finally(() => pending.delete(session)),
    ),
  );
  clearTimeout(timer);
  report.end();
}
