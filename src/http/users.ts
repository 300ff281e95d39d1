/**
 * Routes about users: presence, their connections, and disconnecting them.
 */
import { CodedError } from '../protocol/codes.ts';
import type { Api, RouteDeps } from './api.ts';
import * as schemas from './schemas.ts';

const tags: readonly string[] = ['users'];

export function userRoutes(api: Api, { hub, carry }: RouteDeps): void {
  api.get(
    '/presence',
    { schema: { tags, summary: 'Who is there', querystring: schemas.presenceQuery, response: schemas.responses.presence } },
    (request, reply) => carry(request, reply, { op: 'who', users: request.query.user }),
  );

  api.get(
    '/users/:user/connections',
    { schema: { tags, summary: 'Connections of a user', params: schemas.userPath, response: schemas.responses.connections } },
    async (request) => ({ connections: hub.connectionsOf(request.params.user) }),
  );

  api.delete(
    '/users/:user/connections',
    { schema: { tags, summary: 'Disconnect a user', params: schemas.userPath, response: schemas.responses.disconnected } },
    async (request) => ({ disconnected: hub.disconnect(request.params.user) }),
  );

  api.delete(
    '/users/:user/connections/:connection',
    { schema: { tags, summary: 'Close one connection', params: schemas.connectionPath, response: schemas.responses.disconnected } },
    async (request) => {
      const disconnected = hub.disconnect(request.params.user, request.params.connection);
      if (disconnected === 0) throw new CodedError('not-found', 'the user has no such connection', 'connection');
      return { disconnected };
    },
  );
}
