/** Many requests, some at a time. */

/** Do all of it, `width` at a time and in order, until stopped; what fails does not hold up the rest. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  act: (item: T) => Promise<void>,
  signal: AbortSignal,
): Promise<{ item: T; error: unknown }[]> {
  const failures: { item: T; error: unknown }[] = [];
  const waiting = items[Symbol.iterator]();
  const work = async (): Promise<void> => {
    for (const item of waiting) {
      if (signal.aborted) return;
      try {
        await act(item);
      } catch (error) {
        if (!signal.aborted) failures.push({ item, error });
      }
    }
  };
  await Promise.all(Array.from({ length: width }, work));
  return failures;
}

/** What comes of each, in order, of which `width` are on their way at any time. */
export async function* ahead<T, R>(
  items: Iterable<T>,
  width: number,
  fetch: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const coming: Promise<R>[] = [];
  for (const item of items) {
    const one = fetch(item);
    one.catch(() => undefined); // it is told when its turn comes
    coming.push(one);
    if (coming.length >= width) yield await (coming.shift() as Promise<R>);
  }
  for (const one of coming) yield await one;
}
