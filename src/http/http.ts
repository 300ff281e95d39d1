/**
 * Puts HTTP together: which routes are on which listener. Called by the composition root, which listens, hands upgrades of
 * `app.server` to the gateway, and closes.
 *
 *   development   one instance: health, operations, backend API, page
 *   otherwise     public: /healthz (and the upgrades) · ops: health, operations, backend API
 */
import fastify, { type FastifyInstance } from 'fastify';
import type { FilledOptions } from '../options.ts';
import type { Clock } from '../thread/clock.ts';
import type { Log } from '../thread/log.ts';
import { addApi } from './api.ts';
import type { HttpDeps } from './deps.ts';
import { handleErrors } from './errors.ts';
import { createKeyCheck, createKeyRate, guardDevelopment } from './guard.ts';
import { addHealth, addOperations } from './health.ts';
import { addPage } from './page.ts';
import { httpServer, onClientError } from './server.ts';

/** The public listener has no use for idle connections; backends keep theirs, longer than load balancers do (60 s). */
const publicKeepAliveMs = 5_000;
const opsKeepAliveMs = 65_000;
/** Requests under way when closing begins get so long to end. */
const closeGraceMs = 1_000;
/** A room name is at most 128 bytes, percent-encoded for a DM and once more for the path. */
const pathPartMax = 2_048;

export type HttpSettings = {
  options: FilledOptions;
  clock: Clock;
  log: Log;
  hub: HttpDeps;
  /** Folder of the built page (development only). */
  pageDir?: string;
};

/**
 * Ready to listen, not listening. In development both are the same instance. `close` of each waits for every socket of its
 * server, upgraded ones too: close those first. The owner may add listeners (`upgrade`) to `server`; `clientError` has one.
 */
export async function createHttp(settings: HttpSettings): Promise<{ public: FastifyInstance; ops: FastifyInstance }> {
  const { options, clock, log, hub } = settings;
  const checkKey = createKeyCheck(options);
  const ops = instance(options, log, opsKeepAliveMs);
  if (options.dev) guardDevelopment(ops);
  addHealth(ops);
  addOperations(ops, hub);
  await addApi(ops, hub, checkKey, createKeyRate(options, clock));
  if (options.dev && settings.pageDir !== undefined) await addPage(ops, settings.pageDir, log);
  await ops.ready();
  if (options.dev) return { public: ops, ops };

  const open = instance(options, log, publicKeepAliveMs);
  addHealth(open);
  await open.ready();
  return { public: open, ops };
}

function instance(options: FilledOptions, log: Log, keepAliveMs: number): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: options.frameBytesMax,
    serverFactory: (handler) => httpServer(handler, keepAliveMs),
    clientErrorHandler: onClientError,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: pathPartMax },
  });
  handleErrors(app, log);
  let forced: NodeJS.Timeout | undefined;
  app.addHook('preClose', (done) => {
    forced = setTimeout(() => app.server.closeAllConnections(), closeGraceMs);
    done();
  });
  app.addHook('onClose', () => clearTimeout(forced));
  return app;
}
