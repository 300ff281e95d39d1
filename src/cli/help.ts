/**
 * `hubbub --help`, made from the option table so that it cannot fall behind it.
 */
import { columns } from './config.ts';
import { kebab, optionRows, showValue } from './format.ts';

const commands = `hubbub: a self-hosted WebSocket communication hub

  hubbub serve [options]                 run a hub
  hubbub config [options]                print every option, the value in force and where it came from
  hubbub token --user alice --ttl 1h     print a token for a user, signed with the first of --jwt-secrets
               [--scope broadcast]       (--scope may be repeated)
  hubbub backup FILE [--data DIR]        copy the data into a new file, while a hub runs or not
  hubbub restore FILE [--force]          take the data back to a backup; --force replaces what is there. No hub may run
  hubbub check                           look for damage in the data, while a hub runs or not; exit 1 where there is any
  hubbub epoch bump                      announce that the data went back by other means than restore. No hub may run
  hubbub --help, hubbub --version

Each option is a flag (--outbox-bytes-max 1MiB), a variable (HUBBUB_OUTBOX_BYTES_MAX=1MiB) and a key of the JSON file that
--config or HUBBUB_CONFIG names ("outboxBytesMax": "1MiB"); the flag wins, then the variable, then the file. Durations are
250ms, 10s, 5m, 1h, 30d; sizes 512, 64KiB, 1MiB; "off" is 0. Lists are separated by commas or given repeatedly; secrets,
which may hold commas, are given repeatedly or as @FILE with one on each line.

`;

export function helpText(): string {
  return commands + columns(optionRows.map(([name, row]) => [`  --${kebab(name)}`, showValue(name, row, row.value), row.help]));
}
