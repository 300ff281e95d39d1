/**
 * A client in a process of its own that can be cut off from the outside: says hello, follows a room, writes `ready`, and then
 * only answers pings, until it is ended. `node silent-client.js URL TOKEN DEVICE ROOM`
 */
import { WebSocket } from 'ws';

const [url, token, device, room] = process.argv.slice(2);
const socket = new WebSocket(url, 'hubbub.v1.json');
socket.on('open', () => {
  socket.send(JSON.stringify({ op: 'hello', id: 1, token, device }));
  socket.send(JSON.stringify({ op: 'subscribe', id: 2, room }));
});
socket.on('message', (data) => {
  const { op, id } = JSON.parse(data.toString());
  if (op === 'ok' && id === 2) process.stdout.write('ready\n');
  if (op === 'error') throw new Error(data.toString());
});
