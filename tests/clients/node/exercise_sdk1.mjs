// Exercises the client of @modelcontextprotocol/sdk 1.x: node exercise_sdk1.mjs URL

import * as client from '@modelcontextprotocol/sdk/client/index.js';
import * as transport from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import * as types from '@modelcontextprotocol/sdk/types.js';
import { connectWith } from './connect_sdk1.mjs';
import { runMatrix } from './matrix.mjs';

await runMatrix('sdk1', connectWith('exercise_sdk1', { client, transport, types }), { canBeModern: false });
