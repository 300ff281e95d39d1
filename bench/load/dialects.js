/**
 * What the load client says to each kind of contestant: how it opens a connection, follows a room and publishes. A dialect
 * gives bytes only; nothing here opens a socket.
 */
import { createRequire } from 'node:module';
import { frameOf, upgradeRequest } from './frame.js';
import { blankBody, stampOffset } from './stamp.js';

const { Packr } = createRequire(new URL('../../package.json', import.meta.url))('msgpackr');
const packr = new Packr({ useRecords: false });

/**
 * One exchange while opening: send `bytes`, go on when `expect` was seen `times` times.
 * @typedef {{ bytes: Buffer, expect: string, times: number }} Step
 *
 * A publish to patch: its time digits are at `timeAt`; `idAt` is where its command number is (-1: it has none).
 * @typedef {{ bytes: Buffer, timeAt: number, idAt: number }} Template
 *
 * @typedef {object} Dialect
 * @property {(port: number) => Step[]} open shakes hands
 * @property {(user: string, rooms: string[], positions?: Record<string, Position>) => Step[]} enter says who it is and follows `rooms`
 * @property {(room: string) => Template} publish
 * @property {(to: string) => Template} [direct] Hubbub's only, as is `frame`
 * @property {(fields: Record<string, unknown>) => Buffer} [frame] any command
 * @property {(bytes: Buffer, at: number, id: number) => void} writeId
 * @property {string} answered seen once for every answered publish with a number
 * @property {string} refused seen in any refusal
 *
 * @typedef {{ epoch: string, seq: number }} Position
 * @typedef {{ ephemeral: boolean, ok: boolean }} Manner
 */

const upgraded = '\r\n\r\n';
const idDigits = 9;
const firstId = 10 ** (idDigits - 1);

/** The small protocol of the peers that have none of their own. */
export const plain = () =>
  /** @type {Dialect} */ ({
    open: (port) => [{ bytes: upgradeRequest(port, '/', ''), expect: upgraded, times: 1 }],
    enter: (_user, rooms) => rooms.map((r) => ({ bytes: frameOf(JSON.stringify({ t: 'join', r })), expect: '"joined"', times: 1 })),
    publish: (r) => template(frameOf(JSON.stringify({ t: 'pub', r, d: blankBody }))),
    writeId: () => {},
    answered: '',
    refused: '"error"',
  });

/** Engine.IO 4 on its WebSocket transport: packet types are digits in front of JSON. */
export const socketIo = () =>
  /** @type {Dialect} */ ({
    open: (port) => [
      { bytes: upgradeRequest(port, '/socket.io/?EIO=4&transport=websocket', ''), expect: '0{"sid"', times: 1 },
      { bytes: frameOf('40'), expect: '40{"sid"', times: 1 },
    ],
    enter: (_user, rooms) => rooms.map((room) => ({ bytes: frameOf(`420${JSON.stringify(['join', room])}`), expect: '430[', times: 1 })),
    publish: (room) => template(frameOf(`42${JSON.stringify(['pub', room, blankBody])}`)),
    writeId: () => {},
    answered: '',
    refused: '44{',
  });

/** @param {Manner} manner */
export const hubbubJson = (manner) =>
  hubbub(manner, 'hubbub.v1.json', (fields) => frameOf(JSON.stringify(fields)), {
    id: String(firstId),
    writeId: (bytes, at, id) => bytes.write(String(firstId + id), at, 'latin1'),
    answered: '"op":"ok"',
    welcomed: '"op":"welcome"',
    refused: '"op":"error"',
  });

/** @param {Manner} manner */
export const hubbubMsgpack = (manner) =>
  hubbub(manner, 'hubbub.v1.msgpack', (fields) => frameOf(packr.pack(fields)), {
    id: packr.pack(firstId).subarray(1).toString('latin1'),
    writeId: (bytes, at, id) => bytes.writeUInt32BE(firstId + id, at),
    answered: '\xa2op\xa2ok',
    welcomed: '\xa2op\xa7welcome',
    refused: '\xa2op\xa5error',
  });

/**
 * @param {Manner} manner
 * @param {string} protocol
 * @param {(fields: Record<string, unknown>) => Buffer} frame
 * @param {{ id: string, writeId: Dialect['writeId'], answered: string, welcomed: string, refused: string }} form
 * @returns {Dialect}
 */
function hubbub({ ephemeral, ok }, protocol, frame, form) {
  const { writeId, answered, welcomed, refused } = form;
  const number = ok ? { id: firstId } : {};
  /** @param {Record<string, unknown>} fields */
  const numbered = (fields) => template(frame(fields), ok ? form.id : '');
  return {
    open: (port) => [{ bytes: upgradeRequest(port, '/', protocol), expect: upgraded, times: 1 }],
    enter: (user, rooms, positions = {}) => {
      const follow = rooms.map((room, i) => ({ op: 'subscribe', id: i + 2, room, ...(positions[room] ? { position: positions[room] } : {}) }));
      const bytes = Buffer.concat([{ op: 'hello', id: 1, user }, ...follow].map(frame));
      return [{ bytes, expect: rooms.length === 0 ? welcomed : answered, times: rooms.length || 1 }];
    },
    publish: (room) => numbered({ op: 'publish', ...number, room, body: blankBody, ...(ephemeral ? { ephemeral: true } : {}) }),
    direct: (to) => numbered({ op: 'direct', ...number, to, body: blankBody }),
    frame,
    writeId,
    answered,
    refused,
  };
}

/**
 * @param {Buffer} bytes
 * @param {string} [id] its bytes, where the publish has one
 * @returns {Template}
 */
function template(bytes, id = '') {
  return { bytes, timeAt: stampOffset(bytes), idAt: id === '' ? -1 : bytes.indexOf(id, 0, 'latin1') };
}
