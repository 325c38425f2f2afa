import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { sentenceOf } from "../api/client";

/** The longest reason that the router records. */
const MAX_REASON_CHARACTERS = 256;

/** A window above the page. The browser keeps the focus in it; afterwards the focus returns to where it was. */
export function Dialog({ title, tone = "", onClose, isBusy = false, children }: {
  title: string;
  tone?: "danger" | "";
  onClose: () => void;
  isBusy?: boolean;
  children: ComponentChildren;
}) {
  const element = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  useLayoutEffect(() => {
    const dialog = element.current;
    const focusedBefore = document.activeElement;
    if (dialog && !dialog.open) dialog.showModal();
    return () => {
      dialog?.close();
      if (focusedBefore instanceof HTMLElement) focusedBefore.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      class={`dialog ${tone}`}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault();
        if (!isBusy) onClose();
      }}
    >
      <h2 id={titleId}>{title}</h2>
      {children}
    </dialog>
  );
}

/** What an action did, in words. */
export interface ActionResult {
  title: string;
  /** Whether the action did all that it was asked for. */
  isComplete: boolean;
  content: ComponentChildren;
}

/** Asks for a reason and a confirmation, does it, and shows what it did. */
export function ActionDialog({ title, confirm, tone = "danger", children, act, onClose }: {
  title: string;
  /** The words on the button. */
  confirm: string;
  tone?: "danger" | "";
  children?: ComponentChildren;
  act: (reason: string) => Promise<ActionResult>;
  onClose: () => void;
}) {
  const [reason, setReason] = useState("");
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const [result, setResult] = useState<ActionResult | null>(null);
  const reasonId = useId();
  const isReady = reason.trim() !== "";
  const submit = async (event: Event) => {
    event.preventDefault();
    if (!isReady || isBusy) return;
    setBusy(true);
    setError(null);
    try {
      setResult(await act(reason.trim()));
    } catch (failure) {
      setError(sentenceOf(failure));
    } finally {
      setBusy(false);
    }
  };
  if (result) {
    return (
      <Dialog title={result.title} tone={result.isComplete ? "" : "danger"} onClose={onClose}>
        <div class="dialog-body" role="status">{result.content}</div>
        <div class="dialog-buttons">
          <button type="button" class="button primary" onClick={onClose} ref={(button) => button?.focus()}>Close</button>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog title={title} tone={tone} onClose={onClose} isBusy={isBusy}>
      <form onSubmit={(event) => void submit(event)}>
        <div class="dialog-body">{children}</div>
        <div class="field">
          <label for={reasonId}>Reason</label>
          <input
            id={reasonId}
            type="text"
            value={reason}
            maxLength={MAX_REASON_CHARACTERS}
            autocomplete="off"
            aria-describedby={`${reasonId}-use`}
            required
            onInput={(event) => setReason(event.currentTarget.value)}
          />
          <small id={`${reasonId}-use`}>It is recorded on the journal with your key, or your address where no keys are configured.</small>
        </div>
        {error === null ? null : <p class="action-error" role="alert">{error}</p>}
        <div class="dialog-buttons">
          <button type="button" class="button" onClick={onClose} disabled={isBusy}>Back</button>
          <button type="submit" class={`button ${tone === "danger" ? "danger" : "primary"}`} disabled={!isReady || isBusy}>
            {isBusy ? "Waiting for the router…" : confirm}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
