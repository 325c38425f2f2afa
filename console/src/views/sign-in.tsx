import { useState } from "preact/hooks";
import { useStore } from "../lib/store";
import { open, session } from "../state/session";

/** Asks for the API key, once: it stays in the memory of this page. */
export function SignIn() {
  const current = useStore(session);
  const [key, setKey] = useState("");
  const [isBusy, setBusy] = useState(false);
  if (current.kind === "checking") return <main class="sign-in"><p role="status">Connecting to the sidecar…</p></main>;
  const message = current.kind === "closed" ? current.message : null;
  const needsKey = current.kind === "closed" && current.needsKey;
  const submit = async (event: Event) => {
    event.preventDefault();
    if (isBusy) return;
    setBusy(true);
    await open(needsKey ? key.trim() : null);
    setBusy(false);
  };
  return (
    <main class="sign-in">
      <form class="sign-in-form" onSubmit={(event) => void submit(event)}>
        <h1>order-router</h1>
        {needsKey ? (
          <div class="field">
            <label for="api-key">API key</label>
            <input
              id="api-key"
              type="password"
              value={key}
              aria-describedby="key-use"
              autocomplete="off"
              spellcheck={false}
              required
              placeholder="ork_…"
              onInput={(event) => setKey(event.currentTarget.value)}
              ref={(input) => { if (input && key === "") input.focus(); }}
            />
            <small id="key-use">It needs <code>can.read</code>. It stays in the memory of this page, and is gone when the page is closed or reloaded.</small>
          </div>
        ) : null}
        {message === null ? null : <p class="action-error" role="alert">{message}</p>}
        <button type="submit" class="button primary" disabled={isBusy || (needsKey && key.trim() === "")}>
          {isBusy ? "Checking…" : needsKey ? "Open the console" : "Try again"}
        </button>
      </form>
    </main>
  );
}
