/** The hub most people write first: `ws`, a Map of Sets, and one `send` per member. */
import { WebSocketServer } from 'ws';

/** @type {Map<string, Set<import('ws').WebSocket>>} */
const rooms = new Map();
const server = new WebSocketServer({ port: 0, host: '127.0.0.1', backlog: 4_096, perMessageDeflate: false });

server.on('connection', (socket) => {
  /** @type {Set<Set<import('ws').WebSocket>>} */
  const joined = new Set();
  socket.on('message', (data) => {
    const message = JSON.parse(data.toString());
    if (message.t === 'join') {
      const room = rooms.get(message.r) ?? new Set();
      rooms.set(message.r, room.add(socket));
      joined.add(room);
      socket.send('{"t":"joined"}');
    } else {
      const text = JSON.stringify({ t: 'msg', r: message.r, d: message.d });
      for (const member of rooms.get(message.r) ?? []) member.send(text);
    }
  });
  socket.on('close', () => {
    for (const room of joined) room.delete(socket);
  });
});
server.on('listening', () => console.log(`listening on http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`));
