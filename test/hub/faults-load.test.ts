/** Hostile input, overload, long runs and what else could take a hub down, at the size of the gate. */
import { gateOf } from '../faults/gate.ts';

await gateOf(13, 38);
