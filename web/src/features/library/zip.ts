/** Many pictures as one file. */

import { makeZip } from "client-zip";

import { bytesOf } from "@/lib/api/client";
import { ApiError } from "@/lib/api/errors";
import { overBreaks } from "@/lib/api/jobs";
import { nameOf } from "@/lib/jobs";
import { saveAs } from "@/lib/save";

import type { Piece } from "./made";
import { ahead } from "./parallel";
import { refresh } from "./shelf";

const WIDTH = 6; // a browser opens no more connections to one place
const ID_LENGTH = 8;
const LARGE = 256 * 1024 * 1024; // bytes; more goes to the disk as it comes, where the browser lets it

/** A file name for each, from its prompt, seed and id; no two are the same, whatever the system makes of case. */
export function namesOf(pieces: readonly Piece[]): string[] {
  const taken = new Set<string>();
  return pieces.map(({ id, made, seed, type }) => {
    const named = (ends: string) => nameOf(made.prompt, [seed, ends], type);
    const short = named(id.slice(0, ID_LENGTH));
    const name = taken.has(short.toLowerCase()) ? named(id) : short;
    taken.add(name.toLowerCase());
    return name;
  });
}

interface Packing {
  signal: AbortSignal;
  onDone: (piece: Piece, error?: unknown) => void;
}

/** Fetch and pack them, and hand the user the file. Raises what stops all of it: `AbortError`, a disk that is full. */
export async function saveZip(pieces: readonly Piece[], name: string, packing: Packing): Promise<void> {
  const size = pieces.reduce((sum, piece) => sum + piece.size, 0);
  const file = size > LARGE ? await chosenFile(name) : null;
  const zip = makeZip(filesOf(pieces, packing));
  if (file) return zip.pipeTo(await file.createWritable(), { signal: packing.signal });
  const whole = await new Response(zip).blob();
  saveAs(new Blob([whole], { type: "application/zip" }), name);
}

async function* filesOf(pieces: readonly Piece[], { signal, onDone }: Packing) {
  const names = namesOf(pieces);
  const fetched = ahead(pieces, WIDTH, async (piece) => {
    try {
      signal.throwIfAborted();
      return { piece, blob: await overBreaks(() => freshBytesOf(piece), { signal }) };
    } catch (error) {
      signal.throwIfAborted();
      return { piece, error };
    }
  });
  let at = 0;
  for await (const { piece, blob, error } of fetched) {
    onDone(piece, error);
    const file = { name: names[at], lastModified: new Date(piece.made.at) };
    at += 1;
    if (blob) yield { ...file, input: blob.stream(), size: blob.size };
  }
}

/** Its bytes, with a new address where the old one has run out. */
async function freshBytesOf(piece: Piece): Promise<Blob> {
  try {
    return await bytesOf(piece);
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== "forbidden") throw error;
    const again = (await refresh(piece.made.id))?.pieces.find((one) => one.id === piece.id);
    if (!again) throw error;
    return bytesOf(again);
  }
}

/** File System Access, which not every browser has. */
type Chooser = (options: { suggestedName: string }) => Promise<FileSystemFileHandle>;

function chosenFile(name: string): Promise<FileSystemFileHandle> | null {
  const choose = (window as { showSaveFilePicker?: Chooser }).showSaveFilePicker;
  return choose ? choose.call(window, { suggestedName: name }) : null;
}
