/** A person's settings over real HTTP, whatever the order in which answers come. */

import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { Api, connect, UserSettings, UserStream, type Connection } from '../src/index.js';
import { StreamServer } from './server.js';
import { when } from './stores.js';

let sockets: StreamServer;
let connection: Connection;
let settings: UserSettings;
const saves: ServerResponse[] = [];
let version = 1;

const http = createServer((request, response) => {
  response.setHeader('content-type', 'application/json');
  if (request.method === 'PATCH') saves.push(response);
  else response.end(JSON.stringify({ settings: { language: 'de' }, version }));
});

beforeAll(async () => {
  sockets = await StreamServer.start();
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  connection = connect({ url: sockets.url, transports: ['websocket'], token: 'ada' });
  const api = new Api({
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    token: 'ada',
  });
  settings = new UserSettings(api, new UserStream(connection, 'ada'));
  await when(settings, (values) => values['language'] === 'de');
});
afterAll(async () => {
  settings.close();
  connection.close();
  http.close();
  await sockets.stop();
});

async function asked(): Promise<ServerResponse> {
  await expect.poll(() => saves.length).toBe(1);
  return saves.pop()!;
}

test('an answer from before a choice does not take it back while it is saved', async () => {
  const told: unknown[] = [];
  const stop = settings.subscribe((values) => told.push(values['language']));
  const saving = settings.save({ language: 'en' });
  const answer = await asked();
  version = 2;
  await settings.read();
  answer.end(JSON.stringify({ settings: { language: 'en' }, version: 3 }));
  await saving;
  stop();

  expect(told).toEqual(['de', 'en']);
});

test('where a choice is not taken, what was heard meanwhile holds', async () => {
  const saving = settings.save({ language: 'en' });
  const answer = await asked();
  version = 4;
  await settings.read();
  answer.statusCode = 409;
  answer.end(JSON.stringify({ code: 'conflict', message: 'no' }));
  const refused = await saving.catch((error: unknown) => error);

  expect(refused).toBeInstanceOf(Error);
  expect(settings.get()).toEqual({ language: 'de' });
});
