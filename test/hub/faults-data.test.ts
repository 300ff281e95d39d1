/** Faults that could lose, double or leak something, at the size of the gate. */
import { gateOf } from '../faults/gate.ts';

await gateOf(1, 12);
