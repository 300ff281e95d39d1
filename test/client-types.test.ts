/**
 * The zod-free types that the client is published with say the same as the schemas that the hub enforces. The comparison is
 * made by the compiler, on this file.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import type { WebSocket as NodeWebSocket } from 'ws';
import type { ConnectOptions, Hub, WebSocketClass } from '../src/client/index.ts';
import type * as schemas from '../src/protocol/commands.ts';
import type * as inputs from '../src/protocol/inputs.ts';

/** True where the two are the same type, and not only assignable to each other. */
export type Same<A, B> = (<T>() => T extends Flat<A> ? 1 : 2) extends <T>() => T extends Flat<B> ? 1 : 2 ? true : false;
/** Intersections written out; bytes are bytes, whatever kind of buffer zod sees below them. */
type Flat<T> = T extends Uint8Array ? Uint8Array : T extends object ? { [K in keyof T]: Flat<T[K]> } : T;
export type Expect<T extends true> = T;

export type SameOps = Expect<Same<schemas.Op, inputs.Op>>;
type Different = { [K in inputs.Op]: Same<schemas.CommandInput<K>, inputs.CommandInput<K>> extends true ? never : K }[inputs.Op];
/** In vain: the compiler names the ops that differ. */
export type SameInputs = Expect<Same<Different, never>>;
export type SamePosition = Expect<Same<schemas.Position, inputs.Position>>;
export type SameRole = Expect<Same<schemas.Role, inputs.Role>>;
export type SameSettings = Expect<Same<schemas.Settings, inputs.Settings>>;

/** What a caller may and may not write. */
export type Sockets = Expect<typeof NodeWebSocket | typeof WebSocket extends WebSocketClass ? true : false>;
export async function usage(hub: Hub): Promise<void> {
  const created: { room: string; seq: number } = await hub.command('create', { room: 'ops', visibility: 'private' });
  const options: ConnectOptions = { token: async () => created.room };
  // @ts-expect-error a value that the schema refuses
  await hub.command('create', { room: 'ops', visibility: 'secret' });
  // @ts-expect-error a field that the op does not have
  await hub.command('info', { room: 'ops', seq: 1 });
  // @ts-expect-error an op that the client carries out by itself
  await hub.command('hello', options);
  hub.on('inbox', async ({ n, room, body }) => void [n, room, body]);
  // @ts-expect-error no such event
  hub.on('inboxes', () => undefined);
}

const root = resolve(import.meta.dirname, '..');

function compile(source: string): { status: number | null; output: string } {
  const folder = mkdtempSync(join(tmpdir(), 'hubbub-types-'));
  try {
    const options = { noEmit: true, rootDir: '/', types: ['node'], typeRoots: [join(root, 'node_modules/@types')] };
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ extends: join(root, 'tsconfig.json'), compilerOptions: options, include: [], files: [source] }),
    );
    const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
    const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' });
    return { status, output: stdout + stderr };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("the client's plain types are those of the schemas", () => {
  expect(compile(import.meta.filename)).toEqual({ status: 0, output: '' });
});

test('the comparison sees a difference', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hubbub-planted-'));
  const planted = join(folder, 'planted.ts');
  const types = `import type { Expect, Same } from '${import.meta.filename}';\n`;
  try {
    writeFileSync(planted, `${types}export type One = Expect<Same<{ a: string; b?: number }, { a: string } & { b: number }>>;\n`);
    expect(compile(planted).output).toContain("'false' does not satisfy");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
