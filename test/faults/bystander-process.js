/**
 * The process of a `Bystander` (bystander.ts), who asks for little and is asked how long it took: `acks` times publishes over one
 * connection, `logins` times whole visits until it is told `enough`. `bystander-process.js URL`, its orders and results by IPC.
 */
import { once } from 'node:events';
import { WebSocket } from 'ws';

const [url] = process.argv.slice(2);
const room = 'calm';
let enough = false;
let steady = null;

process.on('disconnect', () => process.exit());
process.on('message', async ({ what, count, pauseMs }) => {
  if (what === 'enough') enough = true;
  else process.send(what === 'acks' ? await acks(count, pauseMs) : await logins(pauseMs));
});

async function acks(count, pauseMs) {
  steady ??= await welcomed('bystander');
  const took = [];
  for (let id = 2; id < count + 2; id++) {
    took.push(await timed(() => answered(steady, { op: 'publish', id, room, body: id })));
    await passed(pauseMs);
  }
  return took;
}

async function logins(pauseMs) {
  const took = [];
  for (enough = false; !enough; await passed(pauseMs)) {
    let guest;
    took.push(await timed(async () => (guest = await welcomed(`guest-${took.length}`))));
    await answered(guest, { op: 'publish', id: 2, room, body: took.length });
    guest.close();
  }
  return took;
}

async function welcomed(user) {
  const socket = new WebSocket(url, 'hubbub.v1.json', { perMessageDeflate: false });
  await once(socket, 'open');
  await answered(socket, { op: 'hello', id: 1, user });
  return socket;
}

/** Resolves to the answer; what is refused or cut ends this process, and with it the row. */
function answered(socket, command) {
  return new Promise((resolve, reject) => {
    const ended = (code) => reject(new Error(`the bystander was closed with ${code}`));
    const look = (data) => {
      const frame = JSON.parse(data.toString());
      if (frame.id !== command.id) return;
      socket.off('message', look).off('close', ended);
      if (frame.op === 'error') reject(new Error(`the bystander was refused: ${data}`));
      else resolve(frame);
    };
    socket.on('message', look).on('close', ended);
    socket.send(JSON.stringify(command));
  });
}

async function timed(work) {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

function passed(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
