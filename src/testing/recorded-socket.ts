/**
 * A WebSocket class that keeps what passes through it in a history: given to the client as `webSocket`, it records a whole
 * application at the wire, whatever library is above it.
 */
import { WebSocket } from 'ws';
import type { WebSocketClass } from '../client/index.ts';
import { decode, type Format, subprotocols } from '../protocol/codec.ts';
import type { Recorder } from './recorder.ts';

/** Each connection made with the class is a client of its own in the history, in the name of `user`. */
export function recordedWebSocket(recorder: Recorder, user: string): WebSocketClass {
  class RecordedWebSocket extends WebSocket {
    readonly #name = recorder.client(user);

    constructor(url: string, protocols: string[]) {
      super(url, protocols, { perMessageDeflate: false });
      // The first listener, so that the history has a frame before the application acts on it.
      this.on('message', (data: Buffer | ArrayBuffer) => {
        const frame = decode(data instanceof ArrayBuffer ? new Uint8Array(data) : data, this.#format);
        recorder.received(this.#name, frame);
        if (frame.op === 'welcome') recorder.welcomed(this.#name, String(frame.epoch));
      });
      this.on('close', (code) => recorder.closed(this.#name, code));
    }

    get #format(): Format {
      return subprotocols[this.protocol] ?? 'json';
    }

    override send(data: string | Uint8Array): void {
      recorder.sent(this.#name, decode(data, this.#format));
      super.send(data);
    }
  }
  return RecordedWebSocket as unknown as WebSocketClass;
}
