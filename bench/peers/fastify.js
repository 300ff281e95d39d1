/** A bare fastify route, read and posted to: the ceiling of any HTTP API on this machine. */
import { createRequire } from 'node:module';

const { fastify } = createRequire(new URL('../../package.json', import.meta.url))('fastify');
const app = fastify();
app.get('/', () => ({ status: 'ok' }));
app.post('/', () => ({ seq: 1 }));
console.log(`listening on ${await app.listen({ port: 0, host: '127.0.0.1' })}`);
