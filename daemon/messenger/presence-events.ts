/**
 * Tells whoever looks at presence that it may have changed in a namespace: who is linked, what machines announced, what
 * agents of this one do. Whoever produces presence calls `changed` and nothing else.
 */
export class PresenceEvents {
  readonly #listeners = new Set<(ns: string) => void>();

  changed(ns: string): void {
    for (const listener of this.#listeners) listener(ns);
  }

  /** Calls the listener from now on, until what this returns is called. It must not throw. */
  on(listener: (ns: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
