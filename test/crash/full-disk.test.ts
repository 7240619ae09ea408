import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mesh, type DaemonProcess } from '../processes/daemon-process.ts';
import { ToolError, type McpAgent } from '../processes/mcp-agent.ts';
import { Stage } from '../processes/stage.ts';
import { skipAloud, smallDisk } from './power-disk.ts';

/** A full disk refuses; nothing acknowledged is lost; the daemon goes on when there is space again. */
const DISK_SIZE_MB = 24;
/** More than what LevelDB may still have room for in files that it has. */
const MESSAGES = 400;
const CONTENT = 'x'.repeat(40_000);

describe.skipIf(skipAloud('full disks'))('a full disk', () => {
  const stage = new Stage();
  const disk = smallDisk(DISK_SIZE_MB);
  let full: DaemonProcess;
  let other: DaemonProcess;
  let here: McpAgent;
  let there: McpAgent;

  beforeAll(async () => {
    full = await stage.machine('full', disk.folder);
    other = await stage.machine('other');
    await mesh('team', full, other);
    here = await stage.agent(full, 'here@team');
    there = await stage.agent(other, 'there@team');
    await here.sees('there', { online: true });
    await there.sees('here', { online: true });
  });
  afterAll(async () => {
    await stage.end();
    disk.remove();
  });

  const filler = join(disk.folder, 'filler');
  const fill = () => {
    const file = openSync(filler, 'w');
    try {
      for (const size of [1 << 20, 1 << 12]) writeUntilFull(file, Buffer.alloc(size));
    } finally {
      closeSync(file);
    }
  };

  /** Sends until it is refused; which contents were accepted. */
  const sendUntilRefused = async (): Promise<{ accepted: string[]; code: string }> => {
    const accepted: string[] = [];
    for (let n = 0; n < MESSAGES; n++) {
      const content = `${n} ${CONTENT}`;
      try {
        await here.send('there', content);
        accepted.push(content);
      } catch (error) {
        if (!(error instanceof ToolError)) throw error;
        return { accepted, code: error.code };
      }
    }
    return { accepted, code: 'none' };
  };

  test('refuses to send, and keeps what it accepted', async () => {
    fill();
    const { accepted, code } = await sendUntilRefused();
    expect(code).toBe('disk_full');
    // Still full, still said.
    await expect(here.send('there', 'still full?')).rejects.toMatchObject({ code: 'disk_full' });
    rmSync(filler);
    const id = await here.send('there', 'space again');
    for (const content of accepted) expect((await there.next()).content).toBe(content);
    expect((await there.next()).content).toBe('space again');
    await here.reaches(id, 'delivered', 'read');
  });

  test('takes nothing from others, who keep it until there is space', async () => {
    fill();
    const sent: string[] = [];
    for (let n = 0; n < MESSAGES / 10; n++) {
      sent.push(`${n} ${CONTENT}`);
      await there.send('here', sent.at(-1)!);
    }
    const last = (await there.call('recall', { limit: 1 })).messages[0]!;
    expect(['queued', 'held']).toContain(last.status);
    rmSync(filler);
    for (const content of sent) expect((await here.next()).content).toBe(content);
    await there.reaches(last.message_id, 'delivered', 'read');
  });
});

function writeUntilFull(file: number, block: Buffer): void {
  for (;;) {
    try {
      writeSync(file, block);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') return;
      throw error;
    }
  }
}
