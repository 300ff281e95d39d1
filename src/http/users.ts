/**
 * Routes about users: presence, their connections, disconnecting them, and withdrawing their right to connect.
 */
import { CodedError } from '../protocol/codes.ts';
import type { Api, RouteDeps } from './api.ts';
import { refuse } from './errors.ts';
import * as schemas from './schemas.ts';

const tags: readonly string[] = ['users'];

export function userRoutes(api: Api, { hub, carry }: RouteDeps): void {
  api.get(
    '/presence',
    { schema: { tags, summary: 'Who is there', querystring: schemas.presenceQuery, response: schemas.responses.presence } },
    (request, reply) => carry(request, reply, { op: 'who', users: request.query.user }),
  );

  api.post(
    '/users/:user/revoke',
    {
      schema: {
        tags,
        summary: 'Revoke the tokens of a user',
        description: 'Closes his connections, and refuses every token issued until now (by its iat claim; one without it for good), also after a restart.',
        params: schemas.userPath,
        response: schemas.responses.revoked,
      },
    },
    async (request, reply) => {
      const { user } = request.params;
      const answer = await hub.command(request.principal, { op: 'revoke', users: [user] });
      return answer.op === 'error' ? refuse(reply, answer) : { user };
    },
  );

  api.post(
    '/users/:user/tokens/revoke',
    {
      schema: {
        tags,
        summary: 'Revoke one token of a user',
        description:
          'Closes the connections that use the token, and refuses it from now on, also after a restart. Other tokens of the user are as good as before.',
        params: schemas.userPath,
        body: schemas.revokedTokenBody,
        response: schemas.responses.revokedToken,
      },
    },
    async (request, reply) => {
      const { user } = request.params;
      const answer = await hub.command(request.principal, { op: 'revoke', users: [user], token: request.body });
      return answer.op === 'error' ? refuse(reply, answer) : { user, jti: request.body.jti };
    },
  );

  api.put(
    '/users/:user/disabled',
    {
      schema: {
        tags,
        summary: 'Disable a user, or enable him again',
        description: 'Who is disabled has his tokens revoked and is admitted with none. Once enabled again he needs a token of after the disabling.',
        params: schemas.userPath,
        body: schemas.disabledBody,
        response: schemas.responses.disabled,
      },
    },
    async (request, reply) => {
      const { user } = request.params;
      const { disabled } = request.body;
      const answer = await hub.command(request.principal, { op: 'disable', users: [user], disabled });
      return answer.op === 'error' ? refuse(reply, answer) : { user, disabled };
    },
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
