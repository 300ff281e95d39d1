/**
 * `revoke` and `disable` for the users of one shard: stored first, then their connections of this node are closed, then it is
 * answered (DESIGN 11.15). Called by the shard's loop; of the backend API only, as the authorization table says.
 */
import { maySend } from '../protocol/authorize.ts';
import { CodedError } from '../protocol/codes.ts';
import type { Command } from '../protocol/commands.ts';
import type { Operation } from '../thread/messages.ts';
import type { Connection, Effects } from './actor.ts';
import { failure } from './kept.ts';
import type { UserDirectory } from './user-directory.ts';

export function revoke(users: UserDirectory, connection: Connection, command: Command<'revoke' | 'disable'>, effects: Effects): void {
  const { id, op } = command;
  if (!maySend(connection.service ? 'service' : 'user', op)) return effects.refuse(connection, id, op, new CodedError('forbidden'));
  const disabled = command.op === 'disable' ? command.disabled : null;
  const token = command.op === 'revoke' ? command.token : undefined;
  const names = [...new Set(command.users)];
  let left = names.length;
  let failed: CodedError | null = null;
  const settled = (error: CodedError | null): void => {
    failed ??= error;
    if (--left > 0) return;
    if (failed === null) effects.part(connection, id, { users: names });
    else effects.refuse(connection, id, op, failed);
  };
  for (const user of names) {
    const accepted = effects.commit(operationOf(user, token, disabled), (outcome) => {
      const unsure = typeof outcome === 'object' && outcome.code === 'storage' && outcome.unsure === true;
      const error = unsure ? new CodedError('restarted') : failure(outcome);
      // On the way to the gateway ahead of the answer: the sockets are closed when the backend hears of it. They are as well where
      // it may have been stored: nothing stays open on a token that may be revoked.
      if ((error === null || unsure) && disabled !== false) users.find(user)?.revoked(token?.jti, effects);
      settled(error);
    });
    if (!accepted) settled(new CodedError('busy'));
  }
}

function operationOf(user: string, token: Command<'revoke'>['token'], disabled: boolean | null): Operation {
  if (token === undefined) return { type: 'revoke', user, disabled };
  const { jti, exp } = token;
  return { type: 'revokeToken', user, jti, until: exp === undefined || exp * 1_000 > Number.MAX_SAFE_INTEGER ? null : exp * 1_000 };
}
