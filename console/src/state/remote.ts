import { ApiProblem, sentenceOf } from "../api/client";
import { Store } from "../lib/store";
import { session, signOut } from "./session";

/** What was read last, when, and why the last reading failed. */
export interface Remote<T> {
  data: T | null;
  /** When `data` was read, by this machine's clock. */
  at: number | null;
  error: string | null;
}

export function remoteStore<T>(): Store<Remote<T>> {
  return new Store<Remote<T>>({ data: null, at: null, error: null });
}

/** Forgets what was read. */
export function clear<T>(store: Store<Remote<T>>): void {
  store.set({ data: null, at: null, error: null });
}

/** Reads into a store. Old data stay beside the error of a reading that failed. */
export async function readInto<T>(store: Store<Remote<T>>, read: () => Promise<T>): Promise<void> {
  try {
    store.set({ data: await read(), at: Date.now(), error: null });
  } catch (error) {
    if (error instanceof ApiProblem && error.status === 401 && session.get().kind === "open") {
      signOut(`The key is no longer accepted: ${error.detail}`);
      return;
    }
    store.update((known) => ({ ...known, error: sentenceOf(error) }));
  }
}
