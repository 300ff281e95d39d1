/**
 * What an operator's machines ask: is the process alive, is it ready, its metrics and statistics. Without an API key: outside
 * development these are on the operations listener, which is not for the world.
 */
import type { FastifyInstance } from 'fastify';
import type { HttpDeps } from './deps.ts';
import { Metrics } from './metrics.ts';

const hide = { schema: { hide: true } } as const;

/** Alive: the main thread answers. Says nothing of anybody, so it may be public. */
export function addHealth(app: FastifyInstance): void {
  app.get('/healthz', hide, () => ({ status: 'ok' }));
}

export function addOperations(app: FastifyInstance, hub: HttpDeps): void {
  const metrics = new Metrics();
  app.addHook('onClose', () => metrics.close());
  app.get('/readyz', hide, (_request, reply) => {
    const readiness = hub.ready();
    if (!readiness.ready) reply.code(503);
    return readiness;
  });
  app.get('/metrics', hide, async (_request, reply) => {
    reply.type(metrics.contentType);
    return metrics.render(hub.stats());
  });
  app.get('/stats', hide, () => hub.stats());
}
