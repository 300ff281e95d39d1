/**
 * Routes about what is set aside because it crashed its thread again and again: the list, and lifting it early.
 */
import { CodedError } from '../protocol/codes.ts';
import type { Api, RouteDeps } from './api.ts';
import * as schemas from './schemas.ts';

const tags: readonly string[] = ['quarantine'];

export function quarantineRoutes(api: Api, { hub }: RouteDeps): void {
  api.get('/quarantine', { schema: { tags, summary: 'Rooms and commands set aside', response: schemas.responses.quarantine } }, async () => ({
    quarantine: hub.quarantine(),
  }));

  api.delete('/quarantine', { schema: { tags, summary: 'Lift everything', response: schemas.responses.lifted } }, async () => ({ lifted: hub.lift() }));

  api.delete(
    '/quarantine/:room',
    { schema: { tags, summary: 'Lift a room and the commands to it', params: schemas.roomPath, response: schemas.responses.lifted } },
    async (request) => {
      const lifted = hub.lift(request.params.room);
      if (lifted === 0) throw new CodedError('not-found', 'nothing of this room is set aside', 'room');
      return { lifted };
    },
  );
}
