/** Runs in every file of whole-process tests: whatever a test opened is closed after it, whatever a file started is stopped with it. */
import { afterAll, afterEach } from 'vitest';
import { stopAllHubs } from './hub.ts';
import { closeAllClients } from './raw-client.ts';
import { closeAllSockets } from './raw-socket.ts';

afterEach(() => {
  closeAllClients();
  closeAllSockets();
});
afterAll(stopAllHubs);
