/** Numbers and keys by chance. `crypto.randomUUID` is missing on pages served over plain HTTP; this is not. */

const SEEDS = 2 ** 32; // short enough to read out loud, far below what a browser keeps exactly

export function randomSeed(): number {
  return Math.floor(Math.random() * SEEDS);
}

/** 128 bits as hex: an `Idempotency-Key`. */
export function randomKey(): string {
  const drawn = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(drawn, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
