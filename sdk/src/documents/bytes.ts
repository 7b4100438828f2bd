/** Bytes as they come from the wire: binary, or the array of integers of older servers. */
export function toBytes(value: unknown): Uint8Array | null {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  return Array.isArray(value) ? Uint8Array.from(value as number[]) : null;
}
