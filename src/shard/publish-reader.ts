/**
 * Commands out of the JSON frames of most messages, without `JSON.parse`: the body is the text that came. The shard asks it
 * before it decodes a frame, which the gateway has scanned.
 */
import type { Command } from '../protocol/commands.ts';
import { PublishFrame } from '../protocol/publish-frame.ts';
import { JsonText } from '../protocol/validate.ts';

export type Publish = Command<'publish'> | Command<'direct'>;

export class PublishReader {
  readonly #frame = new PublishFrame();

  /** Null: to be decoded. */
  read(bytes: Buffer): Publish | null {
    const frame = this.#frame;
    if (!frame.read(bytes)) return null;
    const body = new JsonText(bytes.toString(undefined, frame.bodyFrom, frame.bodyTo));
    const { op, id, mid, thread, room, to, ephemeral, echo } = frame;
    if (op === 'publish') return { op, id, room: room as string, mid, body, ephemeral, echo, thread };
    return { op, id, to: to as string, mid, body, thread };
  }
}
