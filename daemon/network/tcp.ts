import type { Socket } from 'node:net';
import type { MultiaddrConnection, Transport } from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import { upgraderOf } from './upgrader.ts';

/**
 * libp2p over TCP that writes once a tick. By itself what is encrypted leaves in up to four segments, of 2, of 12, of
 * all and of 16 bytes: each is a system call here, and wakes the other machine.
 */
export function gatheringTcp(): ReturnType<typeof tcp> {
  const create = tcp();
  return (components) => {
    const transport: Transport = create(components);
    const dial = transport.dial.bind(transport);
    const createListener = transport.createListener.bind(transport);
    transport.dial = (address, options) =>
      dial(address, { ...options, upgrader: upgraderOf(options.upgrader, gathered) });
    transport.createListener = (options) =>
      createListener({ ...options, upgrader: upgraderOf(options.upgrader, gathered) });
    return transport;
  };
}

/** What a connection of @libp2p/tcp has besides. */
interface TcpConnection extends MultiaddrConnection {
  readonly socket: Socket;
  sendData(data: unknown): unknown;
}

/** The connection as it is, but that its socket holds what is sent until the tick ends. */
function gathered(connection: MultiaddrConnection): MultiaddrConnection {
  if (!isTcp(connection)) return connection;
  const { socket } = connection;
  const send = connection.sendData.bind(connection);
  let isGathering = false;
  connection.sendData = (data) => {
    if (!isGathering) {
      isGathering = true;
      socket.cork();
      process.nextTick(() => {
        isGathering = false;
        socket.uncork();
      });
    }
    return send(data);
  };
  return connection;
}

function isTcp(connection: MultiaddrConnection): connection is TcpConnection {
  return 'socket' in connection && 'sendData' in connection;
}
