import { once } from 'node:events';
import { createServer } from 'node:net';
import type { ComponentLogger, DialTransportOptions, MultiaddrConnection, Upgrader } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { parsePeerAddress } from './addresses.ts';
import type { DialFrom } from './dial.ts';
import { gatheringTcp } from './tcp.ts';

/** What @libp2p/tcp hands on to Node's net.connect and to the upgrader besides what its types say. */
interface DialFromOptions extends DialTransportOptions {
  localPort: number;
  initiator: boolean;
}

/** Dials TCP from a port of our choice, as the side of the handshake that is asked for. */
export function dialerFrom({ upgrader, logger }: { upgrader: Upgrader; logger: ComponentLogger }): DialFrom {
  const transport = gatheringTcp()({ logger });
  const answering = answeringUpgrader(upgrader);
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
 * An upgrader for connections that were dialled and are answered like accepted ones. `initiator: false` has them do so
 * until they are encrypted; Yamux goes by the direction, and takes both ends for clients without this.
 */
function answeringUpgrader(upgrader: Upgrader): Upgrader {
  const accepted = (connection: MultiaddrConnection): MultiaddrConnection =>
    Object.assign(connection, { direction: 'inbound' });
  return {
    upgradeOutbound: (connection, options) => upgrader.upgradeOutbound(accepted(connection), options),
    upgradeInbound: (connection, options) => upgrader.upgradeInbound(connection, options),
    createInboundAbortSignal: (signal) => upgrader.createInboundAbortSignal(signal),
    getStreamMuxers: () => upgrader.getStreamMuxers(),
    getConnectionEncrypters: () => upgrader.getConnectionEncrypters(),
  };
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
