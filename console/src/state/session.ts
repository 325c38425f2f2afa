import { ApiProblem, get, sentenceOf, setApiKey } from "../api/client";
import { Store } from "../lib/store";

/** Whether the page may read the router. */
export type Session =
  | { kind: "checking" }
  /** The sidecar asks for a key, or the router did not answer yet. */
  | { kind: "closed"; message: string | null; needsKey: boolean }
  | { kind: "open"; hasKey: boolean };

export const session = new Store<Session>({ kind: "checking" });

/** Checks whether the sidecar needs a key; with a key, whether it is valid and may read. */
export async function open(key: string | null): Promise<void> {
  setApiKey(key);
  try {
    // The order log of this sidecar answers without a worker, so that the page opens while every worker is away.
    await get("orders/log?limit=1");
    session.set({ kind: "open", hasKey: key !== null });
  } catch (error) {
    if (error instanceof ApiProblem && error.status >= 500) {
      session.set({ kind: "open", hasKey: key !== null });
      return;
    }
    setApiKey(null);
    const isKeyMissing = error instanceof ApiProblem && error.status === 401;
    const message = isKeyMissing && key === null ? null : sentenceOf(error);
    session.set({ kind: "closed", message, needsKey: error instanceof ApiProblem });
  }
}

/** Forgets the key and everything that was read with it. */
export function signOut(message: string | null = null): void {
  setApiKey(null);
  session.set({ kind: "closed", message, needsKey: true });
}
