import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';

/** Length and hash of a finished text as `message:done` carries them: bytes of UTF-8, and the first 16
 * hexadecimal digits of their SHA-256. Synchronous, and independent of WebCrypto, which exists on secure
 * origins only. */
export function digest(text: string): { length: number; hash: string } {
  const bytes = new TextEncoder().encode(text);
  return { length: bytes.length, hash: bytesToHex(sha256(bytes)).slice(0, 16) };
}
