import { useEffect, useState } from "preact/hooks";

/** A value that components follow. Changes are shown with the next frame, however many there are in between. */
export class Store<T> {
  private readonly listeners = new Set<() => void>();

  constructor(private value: T) {}

  get(): T {
    return this.value;
  }

  set(value: T): void {
    if (Object.is(value, this.value)) return;
    this.value = value;
    for (const listener of this.listeners) schedule(listener);
  }

  update(change: (value: T) => T): void {
    this.set(change(this.value));
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

const pending = new Set<() => void>();
let isScheduled = false;

/** Runs a listener once in the next frame. */
function schedule(listener: () => void): void {
  pending.add(listener);
  if (isScheduled) return;
  isScheduled = true;
  const flush = () => {
    if (!isScheduled) return;
    isScheduled = false;
    const listeners = [...pending];
    pending.clear();
    for (const one of listeners) one();
  };
  requestAnimationFrame(flush);
  // A page in the background gets no frames.
  setTimeout(flush, 250);
}

/** Returns the value of a store and renders the component again when it changes. */
export function useStore<T>(store: Store<T>): T {
  const [, setVersion] = useState(0);
  useEffect(() => {
    let known = store.get();
    const check = () => {
      if (Object.is(known, store.get())) return;
      known = store.get();
      setVersion((version) => version + 1);
    };
    const unsubscribe = store.subscribe(check);
    // The value may have changed between the rendering and this effect.
    setVersion((version) => version + 1);
    return unsubscribe;
  }, [store]);
  return store.get();
}
