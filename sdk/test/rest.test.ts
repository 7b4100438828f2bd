/** The HTTP side where the network is not what it should be. */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { expect, test } from 'vitest';

import { Api } from '../src/index.js';

test('a call that nobody answers ends by itself', async () => {
  const silent = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as AddressInfo;
  const api = new Api({ url: `http://127.0.0.1:${port}`, token: 'ada', timeoutMs: 50 });

  const failed = await api.request('GET', '/api/app').catch((error: unknown) => error);
  silent.closeAllConnections();
  silent.close();

  expect(failed).toMatchObject({ code: 'unanswered', retryable: true });
});
