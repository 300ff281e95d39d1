/**
 * Handshakes by RFC 6455 §4.2.1 and §4.4 (and offers of RFC 7692), right and wrong, as the bytes that a client sends. What each must
 * come to is what the standard says; where it leaves a choice, both are listed. Row 14 sends them.
 */

/** `answers`: the status codes that are right; 0 is a connection that ends without an answer. */
export type Handshake = {
  readonly what: string;
  readonly bytes: string;
  readonly answers: readonly number[];
  /** Must be in the head of the answer, in lower case. */
  readonly says?: string;
  /** Must not be there. */
  readonly never?: string;
};
type Header = readonly [name: string, value: string];

/** The key of the standard's example, and what is to come of it. */
const key = 'dGhlIHNhbXBsZSBub25jZQ==';
const accept = 'sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=';
const usual: readonly Header[] = [
  ['Host', '127.0.0.1'],
  ['Connection', 'Upgrade'],
  ['Upgrade', 'websocket'],
  ['Sec-WebSocket-Version', '13'],
  ['Sec-WebSocket-Key', key],
];
const open = [101];
/** A client's fault, in plain HTTP, or just the end. */
const refused = [0, 400, 403, 404, 405, 413, 414, 426, 431];
/** No upgrade is asked for: an answer like that to any request. */
const plain = [...refused, 200, 304];
const either = [...open, ...refused];

export const handshakes: readonly Handshake[] = [
  ...one('the standard example', [], open, { says: accept }),
  ...requestLines(),
  ...each('Host', { open: ['localhost', '127.0.0.1:1', '[::1]'], refused: ['', 'evil.example', '127.0.0.1.evil.example', 'a b'] }),
  ...without('Host', refused),
  ...each('Upgrade', { open: ['WebSocket', 'WEBSOCKET', '  websocket  '], plain: [''], refused: ['h2c', 'web socket', 'websockets', 'xwebsocket', 'http/2'] }),
  ...each('Upgrade', { either: ['websocket, h2c', 'h2c, websocket', 'websocket/13'] }),
  ...without('Upgrade', plain),
  ...each('Connection', {
    open: ['upgrade', 'UPGRADE', 'keep-alive, Upgrade', 'Upgrade, keep-alive', 'keep-alive,upgrade,x'],
    plain: ['', 'close', 'keep-alive', 'Upgraded', 'up grade', 'xUpgrade', 'Upgrade2, keep-alive'],
  }),
  ...twice('Connection', ['keep-alive', 'Upgrade'], open),
  ...without('Connection', plain),
  ...each('Sec-WebSocket-Key', {
    open: ['AAAAAAAAAAAAAAAAAAAAAA==', '+/+/+/+/+/+/+/+/+/+/+w==', ` ${key} `],
    refused: ['', 'x', 'AAAAAAAAAAAAAAAAAAAA', 'AAAAAAAAAAAAAAAAAAAAAAA=', 'AAAAAAAAAAAAAAAAAAAAAAAA', key.slice(0, -2), `${key}=`, key.replace('h', '*')],
  }),
  ...each('Sec-WebSocket-Key', { refused: [key.replace('h', ' '), 'A'.repeat(1_000), `${key}, ${key}`, key.replace('h', '-')] }),
  ...twice('Sec-WebSocket-Key', [key, key], refused),
  ...without('Sec-WebSocket-Key', refused),
  ...versions(),
  ...subprotocols(),
  ...extensions(),
  ...noHttp(),
];

function request(headers: readonly Header[], line = 'GET / HTTP/1.1'): string {
  return `${[line, ...headers.map(([name, value]) => `${name}: ${value}`)].join('\r\n')}\r\n\r\n`;
}

/** The usual headers with all of one name replaced. */
function changed(name: string, ...values: readonly string[]): Header[] {
  return [...usual.filter(([other]) => other !== name), ...values.map((value): Header => [name, value])];
}

function one(what: string, more: readonly Header[], answers: readonly number[], expected: Pick<Handshake, 'says' | 'never'> = {}): Handshake[] {
  return [{ what, bytes: request([...usual, ...more]), answers, ...expected }];
}

function each(name: string, values: Readonly<Partial<Record<'open' | 'refused' | 'plain' | 'either', readonly string[]>>>): Handshake[] {
  const kinds = { open, refused, plain, either };
  return Object.entries(kinds).flatMap(([kind, answers]) =>
    (values[kind as keyof typeof kinds] ?? []).map((value) => ({ what: `${name}: ${value.slice(0, 60)}`, bytes: request(changed(name, value)), answers })),
  );
}

function without(name: string, answers: readonly number[]): Handshake[] {
  return [{ what: `no ${name}`, bytes: request(changed(name)), answers }];
}

function twice(name: string, values: readonly string[], answers: readonly number[]): Handshake[] {
  return [{ what: `${name} twice`, bytes: request(changed(name, ...values)), answers }];
}

function requestLines(): Handshake[] {
  const lines: [string, readonly number[]][] = [
    ...['GET /ws HTTP/1.1', 'GET /?room=a HTTP/1.1', 'GET /ws?a=b&c HTTP/1.1'].map((line): [string, readonly number[]] => [line, open]),
    ...['POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'CONNECT', 'get', 'GETT'].map((method): [string, readonly number[]] => [
      `${method} / HTTP/1.1`,
      refused,
    ]),
    ...['GET / HTTP/1.0', 'GET / HTTP/0.9', 'GET / HTTP/2.0', 'GET / HTTP/3', 'GET / HTTP/1', 'GET / http/1.1', 'GET /', 'GET', 'GET / HTTP/1.1 x'].map(
      (line): [string, readonly number[]] => [line, [...refused, 505]],
    ),
    ...['GET /wss HTTP/1.1', 'GET //ws HTTP/1.1', 'GET /../ws HTTP/1.1', 'GET /ws/ HTTP/1.1', 'GET ws HTTP/1.1', 'GET * HTTP/1.1'].map(
      (line): [string, readonly number[]] => [line, refused],
    ),
    ['GET http://127.0.0.1/ws HTTP/1.1', either],
    [`GET /${'a'.repeat(20_000)} HTTP/1.1`, refused],
  ];
  return lines.map(([line, answers]) => ({ what: line.slice(0, 60), bytes: request(usual, line), answers }));
}

/** §4.4: a version that is not spoken is answered by those that are. */
function versions(): Handshake[] {
  const wrong = ['', '0', '1', '7', '8', '12', '14', '255', '-13', '+13', '013', '13.0', '0x0d', '1.3e1', '13, 8', '8, 13', '13;', 'thirteen'];
  const bad = (what: string, headers: readonly Header[]): Handshake => ({
    what,
    bytes: request(headers),
    answers: [426],
    says: 'sec-websocket-version: 13\r\n',
  });
  return [
    ...wrong.map((version) => bad(`version ${version || '(empty)'}`, changed('Sec-WebSocket-Version', version))),
    bad('no version', changed('Sec-WebSocket-Version')),
    bad('two versions', changed('Sec-WebSocket-Version', '13', '8')),
  ];
}

function subprotocols(): Handshake[] {
  const offer = (value: string, answers: readonly number[], says?: string): Handshake[] =>
    one(
      `subprotocol ${value.slice(0, 60)}`,
      [['Sec-WebSocket-Protocol', value]],
      answers,
      says === undefined ? {} : { says: `sec-websocket-protocol: ${says}\r\n` },
    );
  const [json, msgpack] = ['hubbub.v1.json', 'hubbub.v1.msgpack'];
  const none = ['', ',', 'chat', 'HUBBUB.V1.JSON', 'hubbub.v1', '__proto__', 'constructor', 'toString', 'hubbub.v1.json2', `${json};q=1`, `"${json}"`];
  return [
    ...one('no subprotocol', [], open, { never: 'sec-websocket-protocol' }),
    ...offer(json, open, json),
    ...offer(msgpack, open, msgpack),
    ...offer(`${json}, ${msgpack}`, open, json),
    ...offer(`${msgpack},${json}`, open, msgpack),
    ...offer(`chat, ${json}`, open, json),
    ...offer(`${Array.from({ length: 500 }, (_, i) => `chat${i}`).join(', ')}, ${json}`, open, json),
    ...one(
      'two headers of subprotocols',
      ['chat', msgpack].map((value): Header => ['Sec-WebSocket-Protocol', value]),
      open,
      {
        says: `sec-websocket-protocol: ${msgpack}\r\n`,
      },
    ),
    ...none.flatMap((value) => offer(value, refused)),
    ...[`${json}, ${json}`, `${json},`, `,${json}`, `${json} ${msgpack}`, `${json}, a b`, `${json}, a@b`, `${json}, "a"`, `${json}, é`].flatMap((value) =>
      offer(value, refused),
    ),
  ];
}

/** RFC 7692 §7.1: what is offered, right or wrong, is declined by saying nothing of it. */
function extensions(): Handshake[] {
  const deflate = 'permessage-deflate';
  const parameters = [
    'server_no_context_takeover',
    'client_no_context_takeover',
    'client_max_window_bits',
    'client_max_window_bits=15',
    'server_max_window_bits=8',
  ];
  const illegal = [
    ...['7', '16', '0', '08', '-1', '', '"8', '1e1', '99999999999999999999'].map((bits) => `server_max_window_bits=${bits}`),
    'client_max_window_bits=7',
    'client_max_window_bits=16',
    'server_no_context_takeover=1',
    'client_no_context_takeover=true',
    'server_no_context_takeover; server_no_context_takeover',
    'unknown_parameter',
    '',
    ';',
    '=',
  ];
  const offers = [deflate, ...[...parameters, ...illegal].map((parameter) => `${deflate}; ${parameter}`)];
  const others = [
    'x-webkit-deflate-frame',
    'permessage-bzip2',
    ',',
    ' ',
    ';;;',
    `${deflate}, ${deflate}`,
    'a'.repeat(5_000),
    '__proto__',
    `${'a, '.repeat(2_000)}a`,
  ];
  const declined = (answers: readonly number[]) => (value: string) =>
    one(`extension ${value.slice(0, 60)}`, [['Sec-WebSocket-Extensions', value]], answers, { never: 'sec-websocket-extensions' });
  return [...offers.flatMap(declined(open)), ...others.flatMap(declined(either))];
}

function noHttp(): Handshake[] {
  const raw = (what: string, bytes: string, answers: readonly number[] = refused): Handshake => ({ what, bytes, answers });
  const whole = request(usual);
  const ending = '\r\n\r\n';
  const line = (text: string): string => whole.slice(0, -2) + text + ending;
  return [
    raw('2,500 headers', line(`${'X-A: b\r\n'.repeat(2_499)}X-A: b`).replace('Host', `${'X-B: b\r\n'.repeat(150)}Host`)),
    raw('a header of 20 kB', line(`X-A: ${'b'.repeat(20_000)}`)),
    raw('a name of a header of 20 kB', line(`${'b'.repeat(20_000)}: a`)),
    raw('a header without a colon', line('nonsense')),
    raw('a header with a blank in its name', line('X A: b')),
    raw('a header without a name', line(': b')),
    raw('NUL in a header', line('X-A: a\u0000b')),
    raw('CR in a header', line('X-A: a\rb')),
    raw('a header that goes on in the next line', line('X-A: a\r\n b'), either),
    raw('lines that end in LF only', whole.replaceAll('\r\n', '\n'), either),
    raw('lines that end in CR only', `${whole.replaceAll('\r\n', '\r')}${ending}`),
    raw('empty lines before', `\r\n\r\n${whole}`, either),
    raw('blanks before', `   ${whole}`),
    raw('garbage before', `\u0001\u0002\u00ff${whole}`),
    raw('a line of garbage before', `garbage\r\n${whole}`),
    raw('a greeting of TLS', `\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003${ending}`),
    raw('a greeting of SSH', `SSH-2.0-OpenSSH_9.6\r\n${ending}`),
    raw('a greeting of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    raw('a greeting of SMTP', `EHLO example.com${ending}`),
    raw('only ends of lines, then a word', `${'\r\n'.repeat(1_000)}x${ending}`),
    raw('NULs', `${'\u0000'.repeat(1_000)}${ending}`),
    raw('a length that is none', line('Content-Length: x')),
    raw('a negative length', line('Content-Length: -1')),
    raw('two lengths', line('Content-Length: 1\r\nContent-Length: 2')),
    raw('a length and chunks', line('Content-Length: 3\r\nTransfer-Encoding: chunked')),
    raw('chunks of an unknown kind', line('Transfer-Encoding: xchunked'), either),
    raw('an upgrade to something else', whole.replace('websocket', 'h2c')),
    raw('HTTP/1.1 without anything', `GET / HTTP/1.1${ending}`),
  ];
}
