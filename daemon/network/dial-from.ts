import { once } from 'node:events';
import { createServer } from 'node:net';
import type { ComponentLogger, DialTransportOptions, MultiaddrConnection, Upgrader } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { parsePeerAddress } from './addresses.ts';
import type { DialFrom } from './dial.ts';
import { gatheringTcp } from './tcp.ts';
import { upgraderOf } from './upgrader.ts';

/** What @libp2p/tcp hands on to Node's net.connect and to the upgrader besides what its types say. */
interface DialFromOptions extends DialTransportOptions {
  localPort: number;
  initiator: boolean;
}

/** Dials TCP from a port of our choice, as the side of the handshake that is asked for. */
export function dialerFrom({ upgrader, logger }: { upgrader: Upgrader; logger: ComponentLogger }): DialFrom {
  const transport = gatheringTcp()({ logger });
  const answering = upgraderOf(upgrader, accepted);
  return async (address, { localPort, initiator }, signal) => {
    const place = parsePeerAddress(address);
    if (place?.transport !== 'tcp' || place.relay !== undefined) throw new Error(`not TCP: ${address}`);
    const options: DialFromOptions = {
      localPort,
      initiator,
      signal,
      upgrader: initiator ? upgrader : answering,
    };
    return await transport.dial(multiaddr(address), options);
  };
}

/**
 * A connection that was dialled and is answered like an accepted one. `initiator: false` has it be so until it is
 * encrypted; Yamux goes by the direction, and takes both ends for clients without this.
 */
function accepted(connection: MultiaddrConnection): MultiaddrConnection {
  return Object.assign(connection, { direction: 'inbound' });
}

/**
 * A port that nobody has. Another program may take it before we do: then a dial from it fails, and the next is from
 * another one.
 */
export async function freePort(family: 'ip4' | 'ip6'): Promise<number> {
  const server = createServer().listen(0, family === 'ip6' ? '::' : '0.0.0.0');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}
