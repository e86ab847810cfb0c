// Exercises the client of @modelcontextprotocol/sdk 1.x, in a release that speaks 2025-06-18: node exercise_sdk1_earlier.mjs URL

import * as client from 'sdk-earlier/client/index.js';
import * as transport from 'sdk-earlier/client/streamableHttp.js';
import * as types from 'sdk-earlier/types.js';
import { connectWith } from './connect_sdk1.mjs';
import { runMatrix } from './matrix.mjs';

await runMatrix('sdk1_earlier', connectWith('exercise_sdk1_earlier', { client, transport, types }), { canBeModern: false });
