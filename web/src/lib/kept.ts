/** Pictures on the table outlive a reload; they are too large for localStorage, so they lie in IndexedDB. */

import type { Focus } from "./crop";
import type { Mask } from "./mask";
import { type Placed, placedAs, sourceOf } from "./pictures";
import { store, stored } from "./stored";

const NAME = "darkroom";
const SHELF = "pictures";
const KEEP_MS = 300; // a brush and a hand that pulls change much in a second

interface Kept {
  blob: Blob;
  name: string;
}

/** How a picture lies: small, and changed often, so that it is kept apart. */
interface Lie {
  id: string;
  focus: Focus;
  done: Mask["done"];
}

const lies = new Map<string, Lie>();
let keeping: number | undefined;
window.addEventListener("pagehide", keepLies);

/** Keep what lies at that place, or that nothing does. */
export function keepPlaced(place: string, placed: Placed | null): void {
  const known = lies.get(place);
  if (!placed) {
    lies.delete(place);
    void onShelf("readwrite", (shelf) => shelf.delete(place));
    return;
  }
  const { source, focus, mask } = placed;
  lies.set(place, { id: source.id, focus, done: mask.done });
  window.clearTimeout(keeping);
  keeping = window.setTimeout(keepLies, KEEP_MS);
  if (known?.id === source.id) return;
  const kept: Kept = { blob: source.blob, name: source.name };
  void onShelf("readwrite", (shelf) => shelf.put(kept, place));
}

function keepLies(): void {
  for (const [place, lie] of lies) store(nameOf(place), lie);
}

const nameOf = (place: string): string => `darkroom.${place}`;

/** What lay at that place when the last page was left; null where nothing did, or it cannot be read any more. */
export async function restored(place: string): Promise<Placed | null> {
  const kept = await onShelf("readonly", (shelf) => shelf.get(place) as IDBRequest<Kept | undefined>);
  const source = kept && (await sourceOf(kept.blob, kept.name).catch(() => null));
  if (!source) return null;
  const lie = stored(nameOf(place), isLie);
  return lie?.id === source.id ? { source, focus: lie.focus, mask: { done: lie.done, undone: [] } } : placedAs(source);
}

function isLie(value: unknown): value is Lie {
  if (typeof value !== "object" || value === null) return false;
  return "id" in value && "focus" in value && "done" in value && Array.isArray(value.done);
}

/** Null where the browser keeps nothing: a picture then lives as long as the page. */
async function onShelf<T>(mode: IDBTransactionMode, act: (shelf: IDBObjectStore) => IDBRequest<T>): Promise<T | null> {
  try {
    const database = await opened();
    try {
      return await answered(act(database.transaction(SHELF, mode).objectStore(SHELF)));
    } finally {
      database.close();
    }
  } catch {
    return null;
  }
}

function opened(): Promise<IDBDatabase> {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(SHELF);
  return answered(request);
}

function answered<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("IndexedDB refused"));
  });
}
