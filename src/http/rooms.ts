/**
 * Routes that manage rooms and their members.
 */
import type { Api, RouteDeps } from './api.ts';
import { refuse } from './errors.ts';
import * as schemas from './schemas.ts';

const tags: readonly string[] = ['rooms'];

export function roomRoutes(api: Api, { hub, carry }: RouteDeps): void {
  api.get('/rooms', { schema: { tags, summary: 'Public rooms', querystring: schemas.roomsQuery, response: schemas.responses.rooms } }, (request, reply) =>
    carry(request, reply, { op: 'rooms', scope: 'public', ...request.query }),
  );

  api.put(
    '/rooms/:room',
    { schema: { tags, summary: 'Create a room, or change its settings', params: schemas.roomPath, body: schemas.roomBody, response: schemas.responses.put } },
    async (request, reply) => {
      const { room } = request.params;
      const { owner, ...settings } = request.body;
      const created = await hub.command(request.principal, { op: 'create', room, ...settings, ...(owner === undefined ? {} : { as: owner }) });
      if (created.op !== 'error') {
        reply.code(201);
        return { room, seq: created.seq, created: true };
      }
      if (created.code !== 'exists') return refuse(reply, created);
      const stated = Object.keys(settings).length > 0;
      const answer = await hub.command(request.principal, stated ? { op: 'update', room, ...settings } : { op: 'info', room });
      if (answer.op === 'error') return refuse(reply, answer);
      return { room, seq: stated ? answer.seq : (answer.position as { seq: number }).seq, created: false };
    },
  );

  api.get('/rooms/:room', { schema: { tags, summary: 'One room', params: schemas.roomPath, response: schemas.responses.info } }, (request, reply) =>
    carry(request, reply, { op: 'info', room: request.params.room }),
  );

  api.delete('/rooms/:room', { schema: { tags, summary: 'Delete a room', params: schemas.roomPath, response: schemas.responses.changed } }, (request, reply) =>
    carry(request, reply, { op: 'delete', room: request.params.room }),
  );

  api.get(
    '/rooms/:room/members',
    { schema: { tags, summary: 'Members', params: schemas.roomPath, querystring: schemas.membersQuery, response: schemas.responses.members } },
    (request, reply) => carry(request, reply, { op: 'members', room: request.params.room, ...request.query }),
  );

  api.put(
    '/rooms/:room/members/:user',
    {
      schema: { tags, summary: 'Add a member, or change his role', params: schemas.memberPath, body: schemas.memberBody, response: schemas.responses.changed },
    },
    (request, reply) => carry(request, reply, { op: 'setMember', ...request.params, role: request.body.role }),
  );

  api.delete(
    '/rooms/:room/members/:user',
    { schema: { tags, summary: 'Remove a member', params: schemas.memberPath, response: schemas.responses.changed } },
    (request, reply) => carry(request, reply, { op: 'removeMember', ...request.params }),
  );
}
