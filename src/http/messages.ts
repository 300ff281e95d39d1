/**
 * Routes that send and read messages: publish to a room, to a user, to everybody; history; what became of a message.
 */
import { CodedError } from '../protocol/codes.ts';
import { allRoom } from '../protocol/names.ts';
import type { Api, RouteDeps } from './api.ts';
import * as schemas from './schemas.ts';

const tags: readonly string[] = ['messages'];

export function messageRoutes(api: Api, { carry }: RouteDeps): void {
  const headers = schemas.idempotencyHeaders;

  api.post(
    '/rooms/:room/messages',
    {
      schema: { tags, summary: 'Publish to a room', params: schemas.roomPath, headers, body: schemas.publishBody, response: schemas.responses.sent },
    },
    (request, reply) => {
      const { from, ...fields } = request.body;
      return carry(request, reply, { op: 'publish', room: request.params.room, ...fields, ...midOf(request), ...asOf(from) });
    },
  );

  api.post(
    '/users/:user/messages',
    {
      schema: { tags, summary: 'Send a direct message', params: schemas.userPath, headers, body: schemas.directBody, response: schemas.responses.direct },
    },
    (request, reply) => {
      const { from, ...fields } = request.body;
      return carry(request, reply, { op: 'direct', to: request.params.user, ...fields, ...midOf(request), ...asOf(from) });
    },
  );

  api.post(
    '/broadcast',
    { schema: { tags, summary: 'Send to everybody', headers, body: schemas.broadcastBody, response: schemas.responses.sent } },
    (request, reply) => {
      const { from, ...fields } = request.body;
      return carry(request, reply, { op: 'publish', room: allRoom, ...fields, ...midOf(request), ...asOf(from) });
    },
  );

  api.get(
    '/rooms/:room/messages',
    {
      schema: { tags, summary: 'Messages as they stand now', params: schemas.roomPath, querystring: schemas.historyQuery, response: schemas.responses.history },
    },
    (request, reply) => carry(request, reply, { op: 'history', room: request.params.room, ...request.query }),
  );

  api.get(
    '/rooms/:room/messages/:mid/delivery',
    {
      schema: {
        tags,
        summary: 'What became of a message',
        params: schemas.messagePath,
        querystring: schemas.deliveryQuery,
        response: schemas.responses.delivery,
      },
    },
    (request, reply) => carry(request, reply, { op: 'delivery', ...request.params, ...request.query }),
  );
}

/** The message's id from the body or the header; both at once must agree. */
function midOf(request: { body: { mid?: string | undefined }; headers: { 'idempotency-key'?: string | undefined } }): { mid?: string } {
  const { mid } = request.body;
  const key = request.headers['idempotency-key'];
  if (mid !== undefined && key !== undefined && mid !== key) throw new CodedError('bad-request', 'mid and Idempotency-Key differ', 'mid');
  const chosen = mid ?? key;
  return chosen === undefined ? {} : { mid: chosen };
}

function asOf(from: string | undefined): { as?: string } {
  return from === undefined ? {} : { as: from };
}
