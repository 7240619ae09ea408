/** The same value, which nobody can change from now on; bytes excepted, as these cannot be frozen. */
export function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array || Object.isFrozen(value))
    return value;
  if (Array.isArray(value)) for (const part of value) frozen(part);
  else for (const name in value) frozen(value[name]);
  return Object.freeze(value);
}
