import { PatchcordError } from '../../protocol/errors.ts';
import { zTopView, type TopView } from '../../protocol/top-view.ts';
import type { Top } from '../api/top.ts';
import { unreachable, type Wire } from './wire.ts';

/** Longest line that is read: a view of as many agents and machines as it names, with long texts. */
const LINE_LENGTH_MAX = 8 * 1024 * 1024;

/** The Top contract over the socket. `follow` throws `daemon_unreachable` when the daemon ends. */
export function createTop(wire: Wire, socketPath: string): Top {
  return {
    look: async () => wire.ask({ method: 'GET', path: '/api/top', answer: zTopView }),
    async *follow(signal): AsyncGenerator<TopView> {
      const chunks = await wire.drink({ method: 'GET', path: '/api/top/stream', signal });
      let rest = '';
      const decoder = new TextDecoder();
      for await (const chunk of chunks) {
        const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
        rest = lines.pop()!;
        if (rest.length > LINE_LENGTH_MAX) throw new PatchcordError('internal', 'The daemon says too much.');
        const last = lines.findLast((line) => line !== '');
        if (last !== undefined) yield zTopView.parse(JSON.parse(last));
      }
      if (!signal.aborted) throw unreachable(socketPath);
    },
  };
}
