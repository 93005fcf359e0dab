/** Pictures on the table outlive a reload; they are too large for localStorage, so they lie in IndexedDB. */

const NAME = "darkroom.create";
const SHELF = "pictures";

export interface Kept {
  blob: Blob;
  name: string;
}

export const keepPicture = (place: string, blob: Blob, name: string): Promise<unknown> =>
  onShelf("readwrite", (shelf) => shelf.put({ blob, name }, place));

export const letGoOf = (place: string): Promise<unknown> => onShelf("readwrite", (shelf) => shelf.delete(place));

export async function keptPicture(place: string): Promise<Kept | null> {
  const found = await onShelf("readonly", (shelf) => shelf.get(place) as IDBRequest<Kept | undefined>);
  return found ?? null;
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
