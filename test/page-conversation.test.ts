/** A conversation of the page keeps what is new and what was asked for, and not everything there ever was. */
import { expect, test } from 'vitest';
import { Conversation } from '../src/page/conversation.ts';

const say = (conversation: Conversation, from: number, to: number): void => {
  for (let seq = from; seq <= to; seq++) conversation.add({ room: 'r', seq, kind: 'message', mid: null, from: 'bob', ts: seq, body: `${seq}` });
};
const seqs = (conversation: Conversation): (number | null)[] => conversation.lines().map(({ seq }) => seq);

test('of what comes the last thousand are kept, and there is more', () => {
  const conversation = new Conversation('r', null, 'alice');
  say(conversation, 1, 1_500);
  expect([conversation.firstSeq, conversation.head, seqs(conversation).length, conversation.more]).toEqual([501, 1_500, 1_000, true]);
});

test('what is asked for beyond them is shown, page after page, and does not grow with what comes', () => {
  const conversation = new Conversation('r', null, 'alice');
  say(conversation, 1, 1_500);
  say(conversation, 451, 500);
  say(conversation, 401, 450);
  expect([conversation.firstSeq, seqs(conversation).length]).toEqual([401, 1_100]);
  say(conversation, 1_501, 1_510);
  expect([conversation.firstSeq, conversation.head, seqs(conversation).length]).toEqual([411, 1_510, 1_100]);
});
