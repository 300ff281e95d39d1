/** Runs rows of commands against the model until one fails, and says which, shrunk, and how to repeat it. */
import fc from 'fast-check';
import { Machine, type MachineShape } from './machine.ts';
import { beginning, devices, rooms, steps } from './machine-steps.ts';
import { RoomModel } from './room-model.ts';

export type Found = { failure: string | null; steps: string[]; runs: number; commands: number };

const stepsMax = 120;

export async function checkMachine({ runs, seed, store = 'sqlite' }: { runs: number; seed: number; store?: MachineShape['store'] }): Promise<Found> {
  let commands = 0;
  const shape = fc.record({ autoCreate: fc.boolean(), store: fc.constant(store) });
  const property = fc.asyncProperty(shape, fc.commands(steps, { maxCommands: stepsMax, size: 'max' }), async (form, row) => {
    const machine = await Machine.begin(form);
    try {
      const model = new RoomModel(devices, form.autoCreate);
      for (const step of beginning) await step.run(model, machine);
      await fc.asyncModelRun(() => ({ model, real: machine }), row);
      await sameMembers(model, machine);
    } finally {
      commands += machine.commands;
      await machine.end();
    }
  });
  const details = await fc.check(property, { seed, numRuns: runs });
  const row = details.counterexample?.[1];
  return {
    failure: details.failed ? `${String(details.errorInstance)}\n${fc.defaultReportMessage(details)}\nrepeat with TEST_SEED=${seed}` : null,
    steps:
      row === undefined
        ? []
        : String(row)
            .replace(/ ?\/\*.*$/, '')
            .split(','), // those that were taken
    runs: details.numRuns,
    commands,
  };
}

/** What nobody was told of is seen here. */
async function sameMembers(model: RoomModel, machine: Machine): Promise<void> {
  for (const name of rooms) {
    const { exists, members } = model.room(name);
    const answer = await machine.backend({ op: 'members', room: name });
    const is = ((answer.members ?? []) as { user: string; role: string }[]).map(({ user, role }) => `${user} ${role}`).sort();
    const ought = exists ? [...members].map(([user, { role }]) => `${user} ${role}`).sort() : [];
    if (is.join() !== ought.join()) throw new Error(`${name} has the members [${is}], expected were [${ought}]`);
  }
}
