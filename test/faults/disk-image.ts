/**
 * A disk that can lose power: an ext4 image in memory, mounted through a loop device. What a process has written but not
 * flushed is in the kernel's cache and not in the image, so a copy of the image is what a power cut at that moment would
 * leave. Needs root and loop devices; `cannotMount` says so.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MiB = 1024 * 1024;

/** Why this machine can mount nothing, or null. */
export function cannotMount(): string | null {
  if (process.platform !== 'linux') return 'it mounts file systems as Linux does';
  if (process.getuid?.() !== 0) return 'mounting file systems needs root';
  if (!existsSync('/dev/loop-control')) return 'there are no loop devices';
  try {
    execFileSync('mkfs.ext4', ['-V'], { stdio: 'ignore' });
    return null;
  } catch {
    return 'there is no mkfs.ext4';
  }
}

/** A small disk in memory. */
export class MemoryDisk {
  readonly path: string;

  constructor(megabytes: number) {
    this.path = mkdtempSync(join(tmpdir(), 'hubbub-disk-'));
    run('mount', '-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', this.path);
  }

  remove(): void {
    run('umount', '--lazy', this.path); // a loop device lets go of its image a moment after its disk is unmounted
    rmSync(this.path, { recursive: true });
  }
}

export class DiskImage {
  /** Where the disk is mounted. */
  readonly path: string;
  readonly #memory: MemoryDisk;
  readonly #image: string;
  #mounted = false;

  /** An empty disk, mounted. */
  constructor(megabytes: number) {
    // Two images fit: the disk, and what is left of it after a cut.
    this.#memory = new MemoryDisk(2 * megabytes + 8);
    this.#image = join(this.#memory.path, 'image');
    this.path = join(this.#memory.path, 'disk');
    mkdirSync(this.path);
    writeFileSync(this.#image, '');
    truncateSync(this.#image, megabytes * MiB);
    run('mkfs.ext4', '-q', '-F', this.#image);
    this.#mount();
  }

  /** What is on the disk itself at this moment. The process that writes to it must stand still. */
  copy(): void {
    copyFileSync(this.#image, `${this.#image}.cut`);
  }

  /** After the last process on the disk has ended: the disk as it was when it was copied. Mounting it replays its journal. */
  powerCut(): void {
    this.#unmount();
    run('mv', `${this.#image}.cut`, this.#image);
    this.#mount();
  }

  remove(): void {
    this.#unmount();
    this.#memory.remove();
  }

  #mount(): void {
    run('mount', '-o', 'loop', this.#image, this.path);
    this.#mounted = true;
  }

  #unmount(): void {
    if (this.#mounted) run('umount', this.path);
    this.#mounted = false;
  }
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
