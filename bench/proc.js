/**
 * What the kernel says about a process and its children: CPU time and memory, from /proc. Every function answers null where
 * there is no /proc, so that a report says "unknown" and not something wrong.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ of every Linux that Node runs on. */
const microsPerTick = 10_000;

/**
 * User and system time of the process tree in microseconds.
 * @param {number} pid
 */
export function cpuMicros(pid) {
  return sum(pid, (one) => {
    const stat = readFileSync(`/proc/${one}/stat`, 'latin1');
    // The name in brackets may hold anything; user and system time are fields 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * microsPerTick;
  });
}

/**
 * Time of all cores since the machine started, and what of it a virtual machine wanted and did not get (its host gave it to others).
 * @returns {{ stolen: number, all: number } | null}
 */
export function machineTime() {
  try {
    const [line = ''] = readFileSync('/proc/stat', 'latin1').split('\n');
    // user, nice, system, idle, iowait, irq, softirq, steal; those of guests are in user already
    const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number);
    return { stolen: ticks[7] ?? 0, all: ticks.reduce((sum, one) => sum + one, 0) };
  } catch {
    return null;
  }
}

/** @param {number} pid */
export const residentBytes = (pid) => sum(pid, (one) => statusBytes(one, 'VmRSS'));
/** @param {number} pid */
export const peakResidentBytes = (pid) => sum(pid, (one) => statusBytes(one, 'VmHWM'));

/**
 * @param {number} pid
 * @param {(pid: number) => number} read
 * @returns {number | null}
 */
function sum(pid, read) {
  try {
    return tree(pid).reduce((total, one) => total + read(one), 0);
  } catch {
    return null;
  }
}

/**
 * @param {number} pid
 * @returns {number[]}
 */
function tree(pid) {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'latin1').trim().split(' '));
  return [pid, ...children.filter((child) => child !== '').flatMap((child) => tree(Number(child)))];
}

/**
 * @param {number} pid
 * @param {string} field
 */
function statusBytes(pid, field) {
  const line = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return Number(line?.[1] ?? 0) * 1024;
}
