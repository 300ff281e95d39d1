/** Bun's own server and its native topics; runs under Bun. */
const server = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  /** @type {(request: any, self: any) => any} */
  fetch: (request, self) => (self.upgrade(request) ? undefined : new Response(null, { status: 400 })),
  websocket: {
    idleTimeout: 960,
    /**
     * @param {any} socket
     * @param {string | Uint8Array} data
     */
    message(socket, data) {
      const message = JSON.parse(String(data));
      if (message.t === 'join') {
        socket.subscribe(message.r);
        socket.send('{"t":"joined"}');
      } else {
        server.publish(message.r, JSON.stringify({ t: 'msg', r: message.r, d: message.d }));
      }
    },
  },
});
console.log(`listening on http://127.0.0.1:${server.port}`);
