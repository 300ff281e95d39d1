/**
 * The headers that every HTTP answer of the hub carries, so that no browser takes it for more than it is. The page states a
 * policy of its own; everything else is data, which runs nothing and is framed nowhere.
 */
import type { FastifyInstance } from 'fastify';

const always = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
} as const;
/** A year. Without subdomains: those are not the hub's to speak for. */
const strictTransport = 'max-age=31536000';

/**
 * `strict`: the listener speaks TLS, and its host name is to be reached by TLS only from now on. Not in development, where the
 * name is `localhost` and everything else on the machine would be meant too.
 */
export function addSecurityHeaders(app: FastifyInstance, strict: boolean): void {
  // First of all hooks: refusals of the others carry them too.
  app.addHook('onRequest', (_request, reply, done) => {
    reply.headers(always);
    if (strict) reply.header('strict-transport-security', strictTransport);
    done();
  });
}
