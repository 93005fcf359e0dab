/** Small values that outlive the page, where the browser lets us keep any. */

export function stored<T>(name: string, isRight: (value: unknown) => value is T): T | null {
  try {
    const text = localStorage.getItem(name);
    const value: unknown = text === null ? null : JSON.parse(text);
    return isRight(value) ? value : null;
  } catch {
    return null; // no storage here, or somebody else wrote there
  }
}

export function store(name: string, value: unknown): void {
  try {
    localStorage.setItem(name, JSON.stringify(value));
  } catch {
    // no storage here, or it is full: it lives as long as the page
  }
}
