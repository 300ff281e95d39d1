/**
 * The backend API under /api/v1: what all its routes share. A key first, then the body, then one command; JSON with the same
 * limits as a frame; OpenAPI made from the schemas of the routes.
 */
import swagger from '@fastify/swagger';
import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  FastifyTypeProvider,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import { jsonSchemaTransform, validatorCompiler } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import { CodedError } from '../protocol/codes.ts';
import { depthMax } from '../protocol/limits.ts';
import type { HttpDeps, Principal } from './deps.ts';
import { refuse } from './errors.ts';
import { guardRoutes, type KeyCheck, type KeyRate } from './guard.ts';
import { messageRoutes } from './messages.ts';
import { quarantineRoutes } from './quarantine.ts';
import { roomRoutes } from './rooms.ts';
import { userRoutes } from './users.ts';

/** Types of what is checked, the request; the answer is the hub's own and only documented. */
interface RequestTypes extends FastifyTypeProvider {
  validator: this['schema'] extends z.ZodType ? z.output<this['schema']> : unknown;
  serializer: unknown;
}
/** An instance whose handlers know their input from the route's schemas. */
export type Api = FastifyInstance<RawServerDefault, RawRequestDefaultExpression, RawReplyDefaultExpression, FastifyBaseLogger, RequestTypes>;
/** Carries out one command for the request's key; answers its fields, or its refusal with the right status. */
export type Carry = (request: FastifyRequest, reply: FastifyReply, command: Record<string, unknown>) => Promise<object>;
export type RouteDeps = { hub: HttpDeps; carry: Carry };

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal;
  }
}

const prefix = '/api/v1';

export async function addApi(app: FastifyInstance, hub: HttpDeps, checkKey: KeyCheck, keyRate: KeyRate): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Hubbub', description: 'The backend API of a Hubbub hub', version: '1' },
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
      security: [{ key: [] }],
    },
    transform: jsonSchemaTransform,
  });
  app.decorateRequest('principal');
  app.get(`${prefix}/openapi.json`, { schema: { hide: true } }, () => app.swagger());
  await app.register(
    async (scope) => {
      guardRoutes(scope, checkKey, keyRate);
      parseJson(scope);
      scope.setValidatorCompiler(validatorCompiler);
      scope.setSerializerCompiler(() => JSON.stringify);
      const api: Api = scope.withTypeProvider<RequestTypes>();
      const deps: RouteDeps = { hub, carry: carrier(hub) };
      messageRoutes(api, deps);
      roomRoutes(api, deps);
      userRoutes(api, deps);
      quarantineRoutes(api, deps);
    },
    { prefix },
  );
}

function carrier(hub: HttpDeps): Carry {
  return async (request, reply, command) => {
    const { op, id: _, ...fields } = await hub.command(request.principal, command);
    return op === 'error' ? refuse(reply, fields) : fields;
  };
}

/** Only JSON, and only as deep as a frame may be: deeper values break later, where they are copied and encoded. */
function parseJson(scope: FastifyInstance): void {
  const parse = scope.getDefaultJsonParser('error', 'error');
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('application/json', { parseAs: 'string' }, (request, text, done) => {
    const json = text.toString();
    if (tooDeep(json)) done(new CodedError('bad-value', `nested deeper than ${depthMax} levels`));
    else void parse(request, json, done);
  });
}

/** Counts brackets outside of strings; whether the text is JSON at all is the parser's question. */
export function tooDeep(json: string): boolean {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < json.length; i++) {
    const unit = json.charCodeAt(i);
    if (quoted) {
      if (unit === 0x5c) i++;
      else if (unit === 0x22) quoted = false;
    } else if (unit === 0x22) quoted = true;
    else if (unit === 0x7b || unit === 0x5b) {
      if (++depth > depthMax) return true;
    } else if (unit === 0x7d || unit === 0x5d) depth--;
  }
  return false;
}
