import type { MultiaddrConnection, Upgrader } from '@libp2p/interface';

/** An upgrader that makes of each connection first what `change` returns. */
export function upgraderOf(
  upgrader: Upgrader,
  change: (connection: MultiaddrConnection) => MultiaddrConnection,
): Upgrader {
  return {
    upgradeOutbound: (connection, options) => upgrader.upgradeOutbound(change(connection), options),
    upgradeInbound: (connection, options) => upgrader.upgradeInbound(change(connection), options),
    createInboundAbortSignal: (signal) => upgrader.createInboundAbortSignal(signal),
    getStreamMuxers: () => upgrader.getStreamMuxers(),
    getConnectionEncrypters: () => upgrader.getConnectionEncrypters(),
  };
}
