/**
 * One run of the command line: reads arguments and options, runs the command, resolves to the exit code. The process (its
 * streams, environment, signals) is handed in by `main.ts`; the hub is loaded only by the commands that need it.
 */
import { OptionError } from '../options.ts';
import { type Clock, systemClock } from '../thread/clock.ts';
import { type Arguments, readArguments } from './arguments.ts';
import { configText } from './config.ts';
import { type Admin, administer } from './data.ts';
import { Failure, isOptionName, UsageError } from './format.ts';
import { helpText } from './help.ts';
import { createLog } from './log.ts';
import { nodeWarnings, refuseOldNode } from './node-floor.ts';
import { type Gathered, gatherOptions, showSource } from './options-from.ts';
import { exitCodes, type ProcessEvents, type StartHub, serve } from './serve.ts';

import { type MintToken, token } from './token.ts';
import { refuseUnsafe, warningsOf } from './unsafe.ts';

export type Surroundings = {
  environment: Readonly<Record<string, string | undefined>>;
  readFile(path: string): string;
  out(text: string): void;
  problem(text: string): void;
  events: ProcessEvents;
  clock?: Clock;
  version(): string;
  /** Version of Node that runs this. */
  node: string;
  loadHub(): Promise<{ startHub: StartHub; mintToken: MintToken }>;
  loadAdmin(): Promise<Admin>;
};

export async function run(argv: readonly string[], around: Surroundings): Promise<number> {
  let gathered: Gathered | undefined;
  try {
    refuseOldNode(around.node);
    const args = readArguments(argv);
    switch (args.command) {
      case 'help':
        around.out(helpText());
        return exitCodes.ok;
      case 'version':
        around.out(`${around.version()}\n`);
        return exitCodes.ok;
    }
    gathered = gatherOptions({ flags: args.flags, config: args.config, environment: around.environment, readFile: around.readFile });
    return await carryOut(args, gathered, around);
  } catch (error) {
    if (error instanceof Failure) {
      around.problem(`hubbub: ${error.message}\n`);
      return exitCodes.failed;
    }
    if (!(error instanceof UsageError) && !(error instanceof OptionError)) {
      around.problem(`hubbub: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
      return exitCodes.failed;
    }
    // A part that looks closer than the table (the shape of a secret, say) names the option; where it came from is known here.
    const source = error instanceof OptionError && gathered !== undefined && isOptionName(error.option) ? gathered.sources[error.option] : undefined;
    around.problem(`hubbub: ${error.message}${source === undefined ? '' : ` (from ${showSource(source)})`}\n`);
    return exitCodes.usage;
  }
}

async function carryOut(args: Arguments, gathered: Gathered, around: Surroundings): Promise<number> {
  const { options, warnings } = gathered;
  switch (args.command) {
    case 'help':
    case 'version':
      return exitCodes.ok;
    case 'config':
      for (const warning of warnings) around.problem(`hubbub: ${warning}\n`);
      around.out(configText(gathered));
      return exitCodes.ok;
    case 'token': {
      const { mintToken } = await around.loadHub();
      around.out(`${await token(args.own, options, mintToken)}\n`);
      return exitCodes.ok;
    }
    case 'backup':
    case 'restore':
    case 'check':
    case 'epoch': {
      const { out, problem, events, clock = systemClock } = around;
      return administer({ ...args, command: args.command }, options.data, await around.loadAdmin(), { out, problem, events, clock });
    }
    case 'serve': {
      refuseUnsafe(options);
      const log = createLog({ level: options.logLevel, plain: options.dev, write: around.out });
      for (const warning of [...warnings, ...warningsOf(options, gathered.exposure), ...nodeWarnings(around.node)]) log('warn', warning);
      const { startHub } = await around.loadHub();
      return serve(options, { startHub, clock: around.clock ?? systemClock, log, events: around.events });
    }
  }
}
