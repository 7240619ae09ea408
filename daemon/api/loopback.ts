import type { IncomingMessage, ServerResponse } from 'node:http';
import { PatchcordError } from '../../protocol/errors.ts';

const HOSTS = ['127.0.0.1', 'localhost', '[::1]'];
const HTTP_PORT = 80;

/**
 * A web page can make its own host name resolve to 127.0.0.1 and then talk to this port as its own origin (DNS
 * rebinding). Such a request names the page's host, so that only our own names are answered. Throws `forbidden`.
 */
export function checkLoopback(request: IncomingMessage): void {
  const authorities = authoritiesOf(request.socket.localPort);
  const { host, origin } = request.headers;
  if (host === undefined || !authorities.has(host.toLowerCase())) {
    throw new PatchcordError('forbidden', 'The Host header names another machine.', 'Use 127.0.0.1.');
  }
  if (origin === undefined) return;
  const [scheme, authority = ''] = origin.toLowerCase().split('://');
  if (scheme !== 'http' || !authorities.has(authority)) {
    throw new PatchcordError('forbidden', 'Web pages of other origins are not served.');
  }
}

/** Nothing that this API answers is to be shown, framed, sniffed or kept by a browser. */
export function setSecurityHeaders(response: ServerResponse): void {
  response.setHeader('content-security-policy', "default-src 'none'; frame-ancestors 'none'");
  response.setHeader('referrer-policy', 'no-referrer');
  response.setHeader('x-frame-options', 'DENY');
  response.setHeader('x-content-type-options', 'nosniff');
  response.setHeader('cache-control', 'no-store');
}

function authoritiesOf(port: number | undefined): ReadonlySet<string> {
  const withPort = HOSTS.map((host) => `${host}:${port}`);
  return new Set(port === HTTP_PORT ? [...withPort, ...HOSTS] : withPort);
}
