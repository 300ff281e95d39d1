/**
 * Clients in a process of their own that can be cut off from the outside: each says hello, follows a room, and then only answers
 * pings, until the process is ended; it writes `ready` once all are there. `node silent-client.js URL DEVICE ROOM TOKEN …`
 */
import { WebSocket } from 'ws';

const [url, device, room, ...tokens] = process.argv.slice(2);
await Promise.all(tokens.map(follow));
process.stdout.write('ready\n');

function follow(token) {
  const socket = new WebSocket(url, 'hubbub.v1.json');
  socket.on('open', () => {
    socket.send(JSON.stringify({ op: 'hello', id: 1, token, device }));
    socket.send(JSON.stringify({ op: 'subscribe', id: 2, room }));
  });
  return new Promise((resolve) => {
    socket.on('message', (data) => {
      const { op, id } = JSON.parse(data.toString());
      if (op === 'ok' && id === 2) resolve();
      if (op === 'error') throw new Error(data.toString());
    });
  });
}
