import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

/** Why disks of our own cannot be made here; undefined when they can. */
function noDisks(): string | undefined {
  if (process.platform !== 'linux') return 'only Linux has what it takes';
  return process.getuid?.() === 0 ? undefined : 'mounting needs root';
}

/**
 * Tells aloud that a layer is skipped where it cannot run, and makes sure that the gate does not skip it: with CI set
 * in the environment that is an error.
 */
export function skipAloud(layer: string): boolean {
  const why = noDisks();
  if (why === undefined) return false;
  if (process.env['CI']) throw new Error(`${layer} must run in CI: ${why}`);
  console.log(`skipped: ${layer}: ${why}`);
  return true;
}

/** A folder on a file system of its own. */
interface Disk {
  readonly folder: string;
  remove(): void;
}

/** A small disk in memory, to be filled. */
export function smallDisk(sizeMb: number): Disk {
  const folder = mkdtempSync(join(tmpdir(), 'patchcord-disk-'));
  run('mount', '-t', 'tmpfs', '-o', `size=${sizeMb}m,mode=700`, 'patchcord-test', folder);
  return {
    folder,
    remove() {
      run('umount', '--lazy', folder);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** An ext4 file system on a file, from which the power can be taken. */
export class PowerDisk implements Disk {
  readonly folder: string;
  readonly #base: string;
  readonly #image: string;

  constructor(sizeMb: number) {
    this.#base = mkdtempSync(join(tmpdir(), 'patchcord-power-'));
    this.#image = join(this.#base, 'image');
    this.folder = join(this.#base, 'disk');
    mkdirSync(this.folder);
    run('truncate', '--size', `${sizeMb}M`, this.#image);
    run('mkfs.ext4', '-q', this.#image);
    this.#mount();
  }

  /**
   * From here on nothing reaches the disk: what was not synced is gone. The shutdown call of ext4 without a flush of
   * its journal (EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH, linux/fs/ext4/ext4.h).
   */
  cut(): void {
    const script =
      'open(my $d, "<", $ARGV[0]) or die $!; my $flags = pack("L", 2); ioctl($d, 0x8004587d, $flags) or die $!';
    run('perl', '-e', script, this.folder);
  }

  /** The power is back. Nobody may have a file open there. */
  restore(): void {
    run('umount', this.folder);
    this.#mount();
  }

  remove(): void {
    run('umount', '--lazy', this.folder);
    rmSync(this.#base, { recursive: true, force: true });
  }

  #mount(): void {
    run('mount', '-o', 'loop', this.#image, this.folder);
  }
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
