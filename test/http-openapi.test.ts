/** The description of the backend API that the hub serves: every route, from the schemas that check its input. */
import { describe, expect, it } from 'vitest';
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
    expect(routes.sort()).toEqual(
      [
        'post /rooms/{room}/messages',
        'get /rooms/{room}/messages',
        'get /rooms/{room}/messages/{mid}/delivery',
        'post /users/{user}/messages',
        'post /broadcast',
        'get /rooms',
        'get /rooms/{room}',
        'put /rooms/{room}',
        'delete /rooms/{room}',
        'get /rooms/{room}/members',
        'put /rooms/{room}/members/{user}',
        'delete /rooms/{room}/members/{user}',
        'get /presence',
        'post /users/{user}/revoke',
        'put /users/{user}/disabled',
        'get /users/{user}/connections',
        'delete /users/{user}/connections',
        'delete /users/{user}/connections/{connection}',
      ]
        .map((route) => route.replace(' ', ` ${base}`))
        .sort(),
    );
    const publish = document.paths[`${base}/rooms/{room}/messages`].post;
    expect(Object.keys(publish.requestBody.content['application/json'].schema.properties)).toEqual(['body', 'body64', 'mid', 'thread', 'from', 'ephemeral']);
    expect(Object.keys(publish.responses)).toEqual(['200', '4XX', '5XX']);
    await at.close();
  });
});
