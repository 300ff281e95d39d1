/** The description of the backend API that the hub serves: every route, from the schemas that check its input. */
import { describe, expect, it } from 'vitest';
import { routeTable } from '../src/protocol/authorize.ts';
import { pretend } from './kit/http-stage.ts';

const base = '/api/v1';

describe('OpenAPI', () => {
  it('describes every route with its input, and says that a key is needed', async () => {
    const at = await pretend();
    const response = await at.ops.inject({ url: `${base}/openapi.json` });
    expect(response.statusCode).toBe(200);
    const document = response.json();
    expect(document.openapi).toBe('3.1.0');
    expect(document.security).toEqual([{ key: [] }]);
    const routes = Object.entries(document.paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    );
    const keyed = Object.entries(routeTable).filter(([, { by }]) => !(by as readonly string[]).includes('anonymous'));
    const wanted = keyed.map(([route]) => route.replace(/^[A-Z]+/, (method) => method.toLowerCase()).replace(/:(\w+)/g, '{$1}'));
    expect(wanted.length).toBeGreaterThan(15);
    expect(routes.sort()).toEqual(wanted.sort());
    const publish = document.paths[`${base}/rooms/{room}/messages`].post;
    expect(Object.keys(publish.requestBody.content['application/json'].schema.properties)).toEqual(['body', 'body64', 'mid', 'thread', 'from', 'ephemeral']);
    expect(Object.keys(publish.responses)).toEqual(['200', '4XX', '5XX']);
    await at.close();
  });
});
