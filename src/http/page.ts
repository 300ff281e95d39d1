/**
 * The page of development mode: static files of one folder, nothing else of the disk, under a policy that runs only scripts
 * that are such files.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';
import type { Log } from '../thread/log.ts';

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

export async function addPage(app: FastifyInstance, folder: string, log: Log): Promise<void> {
  if (!existsSync(join(folder, 'index.html'))) {
    log('warn', 'the page is not built', { folder });
    return;
  }
  await app.register(fastifyStatic, {
    root: folder,
    // Only the files there are now become routes: no path of a request ever reaches the disk.
    wildcard: false,
    decorateReply: false,
    schemaHide: true,
    cacheControl: false,
    setHeaders: (reply) => {
      reply.header('content-security-policy', policy);
      reply.header('cache-control', 'no-cache');
    },
  });
}
