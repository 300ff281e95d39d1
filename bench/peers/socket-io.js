/** Socket.IO with its rooms, WebSocket transport only. */
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const server = createServer();
const io = new Server(server, { transports: ['websocket'], perMessageDeflate: false, pingInterval: 600_000, serveClient: false });

io.on('connection', (socket) => {
  socket.on('join', (room, answer) => {
    void socket.join(room);
    answer();
  });
  socket.on('pub', (room, body) => io.to(room).emit('msg', room, body));
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () =>
  console.log(`listening on http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`),
);
