/**
 * What a client sends behind the handshake, by RFC 6455 §5 to §8, right and wrong. A case says how it must end: closed by one of
 * these codes (null: cut without one), or a connection that lives and has sent this. Row 14 sends them.
 */
import { Packr } from 'msgpackr';
import { type FrameOptions, frame } from '../kit/raw-socket.ts';

export type FrameCase = {
  readonly what: string;
  readonly bytes: Buffer;
  readonly protocol?: 'hubbub.v1.msgpack';
  readonly end: { readonly closes: readonly (number | null)[] } | { readonly sends: RegExp | null; readonly pongs?: number };
};

export const frameBytesMax = 256 * 1024;
const [continuation, text, binary, close, ping, pong] = [0, 1, 2, 8, 9, 10] as const;
const names = { [continuation]: 'a continuation', [text]: 'text', [binary]: 'binary', [close]: 'a close', [ping]: 'a ping', [pong]: 'a pong' };
const opcodes = [continuation, text, binary, close, ping, pong] as const;
/** A command that is answered, without a hello, by a refusal: so it was read. */
const command = '{"op":"ping","id":1}';
const read = /"unauthenticated"/;
/** Well-formed text that is no command. */
const unread = /"bad-frame"/;
const broken = { closes: [1002] };
const tooBig = { closes: [1009] };

/** §8.1: by what is wrong with it. */
const malformed = [
  ...['80', 'bf', '8080', 'c0', 'c1', 'f5', 'f8', 'fc', 'fe', 'ff'], // bytes that begin nothing
  ...['c080', 'c1bf', 'e08080', 'e09fbf', 'f0808080', 'f08fbfbf', 'f8808080', 'fc8080808080'], // longer than needed
  ...['eda080', 'edafbf', 'edb080', 'edbfbf', 'eda080edb080'], // halves of surrogate pairs
  ...['f4908080', 'f7bfbfbf', 'f88080808080'], // beyond the last character
  ...['c2', 'e282', 'e2', 'f09d84', 'f09d', 'f0'], // cut off
  ...['c220', 'e28220', 'f09d8420', 'e220ac', 'c2c2a9', 'e2e282ac'], // broken off by something else
];
const wellFormed = [
  '',
  '00',
  '7f',
  'c280',
  'dfbf',
  'e0a080',
  'ed9fbf',
  'ee8080',
  'efbfbd',
  'efbfbf',
  'efbbbf',
  'f0908080',
  'f48fbfbf',
  'f09d849e',
  'cebae1bdb9',
];

export const frameCases: readonly FrameCase[] = [
  ...reserved(),
  ...lengths(),
  ...unmasked(),
  ...fragments(),
  ...control(),
  ...closeCodes(),
  ...closing(),
  ...utf8(),
  ...otherKind(),
];

function item(what: string, bytes: Buffer | readonly Buffer[], end: FrameCase['end']): FrameCase {
  return { what, bytes: Buffer.concat([bytes].flat()), end };
}

/** §5.2: reserved bits (RFC 7692 §6: RSV1, whatever is behind it, where compression was not agreed on) and opcodes. */
function reserved(): FrameCase[] {
  const bits = [1, 2, 3, 4, 5, 6, 7].flatMap((set) =>
    opcodes.map((opcode) => item(`${names[opcode]} with reserved bits ${set}`, frame('', { opcode, reserved: set }), broken)),
  );
  const free = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15];
  const codes = free.flatMap((opcode) =>
    ['', 'x', 'x'.repeat(126)].map((payload) => item(`opcode ${opcode} with ${payload.length} bytes`, frame(payload, { opcode }), broken)),
  );
  const deflated = ['f248cdc9c90700', 'ffffffff', '00', '', '07', 'aa00'].map((hex) =>
    item(`a deflate stream ${hex}`, frame(Buffer.from(hex, 'hex'), { reserved: 4 }), broken),
  );
  return [...bits, ...codes, ...deflated];
}

function lengths(): FrameCase[] {
  const padded = (bytes: number): string => command.padEnd(bytes, ' ');
  const fits = [20, 125, 126, 127, 128, 255, 256, 65_535, 65_536, 65_537, frameBytesMax].map((bytes) =>
    item(`text of ${bytes} bytes`, frame(padded(bytes)), { sends: read }),
  );
  const more = [1, 100_000].map((bytes) => item(`text of ${bytes} bytes too many`, frame(padded(frameBytesMax + bytes)), tooBig));
  const binaries = [0, 1, 125, 126, 65_535, 65_536].map((bytes) =>
    item(`binary of ${bytes} bytes`, frame(Buffer.alloc(bytes), { opcode: binary }), { sends: unread }),
  );
  // §5.2 asks for the shortest form and does not say what becomes of a longer one.
  const longer = [long(Buffer.from(command), 2), long(Buffer.from(command), 8), long(Buffer.from(padded(200)), 8)];
  const declared = [2n ** 18n + 1n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 32n + 20n, 2n ** 53n - 1n, 2n ** 53n];
  const impossible = [2n ** 63n, 2n ** 63n + 20n, 2n ** 64n - 1n];
  const claims = [text, binary, continuation].flatMap((opcode) => [
    ...declared.map((length) => claim(opcode, length, [1009])),
    ...impossible.map((length) => claim(opcode, length, [1002, 1009])),
  ]);
  return [...fits, ...more, ...binaries, ...longer.map((bytes, i) => item(`a length in more bytes than it needs (${i})`, bytes, { sends: read })), ...claims];
}

/** A frame that declares a length and brings some bytes of it; a continuation with what it continues. */
function claim(opcode: 0 | 1 | 2, declared: bigint, closes: readonly number[]): FrameCase {
  const begun = opcode === continuation ? frame('{', { fin: false }) : Buffer.alloc(0);
  return item(`${names[opcode]} that declares ${declared} bytes`, [begun, frame('xxxx', { opcode, declared })], { closes });
}

/** A masked text frame whose length stands in `bytes` bytes, needed or not. */
function long(payload: Buffer, bytes: 2 | 8): Buffer {
  const head = Buffer.alloc(2 + bytes);
  head[0] = 0x81;
  head[1] = 0x80 | (bytes === 2 ? 126 : 127);
  if (bytes === 2) head.writeUInt16BE(payload.length, 2);
  else head.writeBigUInt64BE(BigInt(payload.length), 2);
  return Buffer.concat([head, Buffer.alloc(4), payload]);
}

/** §5.1, §5.3. */
function unmasked(): FrameCase[] {
  const alone = opcodes.flatMap((opcode) =>
    ['', 'x', 'x'.repeat(125)].map((payload) =>
      item(`${names[opcode]} of ${payload.length} bytes, not masked`, frame(payload, { opcode, masked: false }), broken),
    ),
  );
  return [...alone, item('a command, then one that is not masked', [frame(command), frame(command, { masked: false })], broken)];
}

/** §5.4. */
function fragments(): FrameCase[] {
  const part = (payload: string | Buffer, options: FrameOptions = {}): Buffer => frame(payload, { opcode: continuation, ...options });
  const start = (payload: string, opcode: number = text): Buffer => frame(payload, { opcode, fin: false });
  const split = (pieces: number): Buffer[] => {
    const size = Math.ceil(command.length / pieces);
    const parts = Array.from({ length: pieces }, (_, i) => command.slice(i * size, (i + 1) * size));
    return parts.map((payload, i) => frame(payload, { opcode: i === 0 ? text : continuation, fin: i === pieces - 1 }));
  };
  const half = [start('{"op":'), part('"ping","id":1}')] as const;
  const lives = { sends: read };
  return [
    ...[2, 3, 5, 10, 20, 60].map((pieces) => item(`a message in ${pieces} fragments`, split(pieces), lives)),
    item('a message of empty fragments around its text', [start(''), part('', { fin: false }), part(command, { fin: false }), part('')], lives),
    item('a message that is empty in three fragments', [start(''), part('', { fin: false }), part('')], { sends: unread }),
    item('a ping between fragments', [half[0], frame('', { opcode: ping }), half[1]], { ...lives, pongs: 1 }),
    item('ten pings between fragments', [half[0], ...Array.from({ length: 10 }, () => frame('x', { opcode: ping })), half[1]], { ...lives, pongs: 10 }),
    item('a pong between fragments', [half[0], frame('x', { opcode: pong }), half[1]], lives),
    item('a close between fragments', [half[0], frame(Buffer.from([3, 232]), { opcode: close })], { closes: [1000] }),
    item('two messages in fragments', [...half, ...half], lives),
    item('a continuation of nothing', part(command), broken),
    item('a continuation of nothing that is not the last', part(command, { fin: false }), broken),
    item('an empty continuation of nothing', part(''), broken),
    item('a continuation behind a whole message', [frame(command), part('x')], broken),
    item('a continuation behind the last one', [...half, part('x')], broken),
    item('a continuation behind a ping', [frame('', { opcode: ping }), part('x')], broken),
    ...[text, binary].flatMap((first) =>
      [text, binary].map((second) => item(`${names[second]} within ${names[first]}`, [start('{', first), frame(command, { opcode: second })], broken)),
    ),
    ...[text, binary].map((second) => item(`the start of ${names[second]} within a message`, [start('{'), start('{', second)], broken)),
    ...[1, 2, 4].map((bits) => item(`a continuation with reserved bits ${bits}`, [start('{'), part('}', { reserved: bits })], broken)),
    item('a continuation that is not masked', [start('{'), part('}', { masked: false })], broken),
    item('a message over the limit in two fragments', [start('x'.repeat(200_000)), part('x'.repeat(200_000))], tooBig),
    item('a message over the limit by one byte in its last fragment', [start('x'.repeat(frameBytesMax)), part('x')], tooBig),
    item('a message of too many fragments', [start('{'), ...Array.from({ length: 100 }, () => part('x', { fin: false }))], { closes: [1008] }),
    item('a message of too many empty fragments', [start(''), ...Array.from({ length: 100 }, () => part('', { fin: false }))], { closes: [1008] }),
  ];
}

/** §5.5. */
function control(): FrameCase[] {
  const kinds = [close, ping, pong] as const;
  const short = [0, 1, 2, 124, 125].flatMap((bytes) => [
    item(`a ping of ${bytes} bytes`, frame('x'.repeat(bytes), { opcode: ping }), { sends: null, pongs: 1 }),
    item(`a pong of ${bytes} bytes that nobody asked for`, frame('x'.repeat(bytes), { opcode: pong }), { sends: null }),
  ]);
  const overlong = kinds.flatMap((opcode) =>
    [126, 127, 1_000, 65_536].map((bytes) => item(`${names[opcode]} of ${bytes} bytes`, frame('x'.repeat(bytes), { opcode }), broken)),
  );
  const split = kinds.flatMap((opcode) =>
    ['', 'x'].map((payload) => item(`${names[opcode]} of ${payload.length} bytes in fragments`, frame(payload, { opcode, fin: false }), broken)),
  );
  const declared = kinds.map((opcode) => item(`${names[opcode]} that declares 2^63 bytes`, frame('', { opcode, declared: 2n ** 63n }), broken));
  const many = [2, 10, 50, 61, 500].map((count) =>
    item(
      `${count} pings at once`,
      Array.from({ length: count }, (_, i) => frame(`${i}`, { opcode: ping })),
      { sends: null, pongs: count },
    ),
  );
  return [
    ...short,
    ...overlong,
    ...split,
    ...declared,
    ...many,
    item('a ping whose payload is no text', frame(Buffer.from([255, 0, 128]), { opcode: ping }), { sends: null, pongs: 1 }),
  ];
}

/** §7.4: codes by their class. */
function closeCodes(): FrameCase[] {
  const good = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4500, 4999];
  const bad = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 5001, 32_768, 65_535];
  return [
    ...good.map((code) => item(`a close with ${code}`, frame(withCode(code), { opcode: close }), { closes: [code] })),
    ...bad.map((code) => item(`a close with ${code}`, frame(withCode(code), { opcode: close }), broken)),
  ];
}

function withCode(code: number, reason: string | Buffer = ''): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(code);
  return Buffer.concat([bytes, Buffer.from(reason as string)]);
}

/** §5.5.1, §7.1: bodies of close frames, and what comes after one. */
function closing(): FrameCase[] {
  const bye = frame(withCode(1000), { opcode: close });
  const closed = { closes: [1000] };
  const said = (reason: string | Buffer): Buffer => frame(withCode(1000, reason), { opcode: close });
  return [
    // An empty close is answered by an empty one, which has no code.
    item('a close without a code', frame('', { opcode: close }), { closes: [null] }),
    item('a close of one byte', frame('x', { opcode: close }), broken),
    ...['x', 'é', '𝄞', 'x'.repeat(123)].map((reason) => item(`a close with the reason ${reason.slice(0, 10)}`, said(reason), closed)),
    item('a close with a reason of 124 bytes', said('x'.repeat(124)), broken),
    ...malformed.slice(0, 12).map((hex) => item(`a close with the reason ${hex}`, said(Buffer.from(hex, 'hex')), { closes: [1007] })),
    item('a command after a close', [bye, frame(command)], closed),
    item('a ping after a close', [bye, frame('', { opcode: ping })], closed),
    item('a second close', [bye, frame(withCode(1001), { opcode: close })], closed),
    item('an error after a close', [bye, frame('', { reserved: 7 })], closed),
    item('a close behind a command', [frame(command), bye], closed),
    item('half a frame after a close', [bye, frame(command).subarray(0, 5)], closed),
  ];
}

function utf8(): FrameCase[] {
  const refused = { closes: [1007] };
  const bad = malformed.flatMap((hex) => {
    const bytes = Buffer.concat([Buffer.from('"'), Buffer.from(hex, 'hex'), Buffer.from('"')]);
    const [first, rest] = [bytes.subarray(0, 2), bytes.subarray(2)];
    return [
      item(`text with ${hex}`, frame(bytes), refused),
      item(`text with ${hex} in two fragments`, [frame(first, { fin: false }), frame(rest, { opcode: continuation })], refused),
    ];
  });
  const good = wellFormed.flatMap((hex) => {
    const bytes = Buffer.from(hex, 'hex');
    const whole = item(`text with ${hex || 'nothing'}`, frame(bytes), { sends: unread });
    if (bytes.length < 2) return [whole];
    return [
      whole,
      item(`text with ${hex}, cut within a character`, [frame(bytes.subarray(0, 1), { fin: false }), frame(bytes.subarray(1), { opcode: continuation })], {
        sends: unread,
      }),
    ];
  });
  return [...bad, ...good];
}

/** In each subprotocol, a frame of the other type: refused, and the connection lives (C1). */
function otherKind(): FrameCase[] {
  const packed = new Packr({ useRecords: false }).pack({ op: 'ping', id: 1 });
  const protocol = 'hubbub.v1.msgpack';
  const cut = [packed.subarray(0, 3), packed.subarray(3)] as const;
  return [
    item('binary where there is JSON', frame(packed, { opcode: binary }), { sends: unread }),
    { ...item('text where there is MessagePack', frame(command), { sends: /bad-frame/ }), protocol },
    { ...item('MessagePack', frame(packed, { opcode: binary }), { sends: /unauthenticated/ }), protocol },
    {
      ...item('MessagePack in two fragments', [frame(cut[0], { opcode: binary, fin: false }), frame(cut[1], { opcode: continuation })], {
        sends: /unauthenticated/,
      }),
      protocol,
    },
    { ...item('text that is no UTF-8 where there is MessagePack', frame(Buffer.from([34, 255, 34])), { closes: [1007] }), protocol },
    { ...item('binary over the limit', frame(Buffer.alloc(frameBytesMax + 1), { opcode: binary }), tooBig), protocol },
  ];
}
