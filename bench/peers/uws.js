/** uWebSockets.js and its native topics. */
import { createRequire } from 'node:module';

const uws = createRequire(import.meta.url)('@trufflesuite/uws-js-unofficial');
const app = uws.App();
const text = new TextDecoder();

app.ws('/*', {
  idleTimeout: 960,
  maxBackpressure: 64 * 1024 * 1024,
  /**
   * @param {any} socket
   * @param {ArrayBuffer} data
   */
  message(socket, data) {
    const message = JSON.parse(text.decode(data));
    if (message.t === 'join') {
      socket.subscribe(message.r);
      socket.send('{"t":"joined"}');
    } else {
      app.publish(message.r, JSON.stringify({ t: 'msg', r: message.r, d: message.d }));
    }
  },
});
app.listen('127.0.0.1', 0, (/** @type {any} */ listening) => {
  if (!listening) throw new Error('cannot listen');
  console.log(`listening on http://127.0.0.1:${uws.us_socket_local_port(listening)}`);
});
