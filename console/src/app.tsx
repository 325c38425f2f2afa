import { useEffect, useState } from "preact/hooks";
import type { TradingState } from "./api/types";
import { useStore } from "./lib/store";
import { clockTime } from "./lib/time";
import { startLive } from "./state/live";
import { closeOrder, selectedOrder } from "./state/order";
import { routerState, startPolling } from "./state/router";
import { session, signOut } from "./state/session";
import { Banner, Connection, StaleBar } from "./ui/banner";
import { TradingStateDialog } from "./ui/state-dialogs";
import { BlotterView } from "./views/blotter";
import { OrderPanel } from "./views/order";
import { Overview } from "./views/overview";
import { Positions } from "./views/positions";
import { Risk } from "./views/risk";
import { SignIn } from "./views/sign-in";

const VIEWS = [["overview", "Overview"], ["blotter", "Blotter"], ["positions", "Positions"], ["risk", "Risk"]] as const;

export function App() {
  const current = useStore(session);
  return current.kind === "open" ? <Console hasKey={current.hasKey} /> : <SignIn />;
}

function Console({ hasKey }: { hasKey: boolean }) {
  const [view, argument] = useHash();
  const order = useStore(selectedOrder);
  const [target, setTarget] = useState<TradingState | null>(null);
  useEffect(() => {
    const stops = [startPolling(), startLive()];
    return () => {
      for (const stop of stops) stop();
      closeOrder();
    };
  }, []);
  useTitle(view);
  return (
    <div class="console">
      <a class="skip" href="#content" onClick={(event) => { event.preventDefault(); document.getElementById("content")?.focus(); }}>Skip to the content</a>
      <header class="top">
        <span class="brand">order-router</span>
        <nav aria-label="Views">
          {VIEWS.map(([name, title]) => (
            <a key={name} href={`#${name}`} aria-current={view === name ? "page" : undefined}>{title}</a>
          ))}
        </nav>
        <span class="grow" />
        <Connection />
        <Clock />
        {hasKey ? <button type="button" class="button small" onClick={() => signOut()}>Forget the key</button> : null}
      </header>
      <Banner onChange={setTarget} />
      <StaleBar />
      <div class="work">
        <main id="content" tabIndex={-1} class={`view-${view}`}>
          {view === "blotter" ? <BlotterView status={argument} />
            : view === "positions" ? <Positions />
            : view === "risk" ? <Risk onChange={setTarget} />
            : <Overview />}
        </main>
        {order ? <OrderPanel orderKey={order} key={order.orderId} /> : null}
      </div>
      {target ? <TradingStateDialog target={target} onClose={() => setTarget(null)} /> : null}
    </div>
  );
}

/** Returns the view that the address names, and what follows its name. */
function useHash(): [string, string] {
  const read = (): [string, string] => {
    const [name = "", argument = ""] = location.hash.slice(1).split("/");
    return VIEWS.some(([known]) => known === name) ? [name, argument] : ["overview", ""];
  };
  const [hash, setHash] = useState(read);
  useEffect(() => {
    const onChange = () => setHash(read());
    addEventListener("hashchange", onChange);
    return () => removeEventListener("hashchange", onChange);
  }, []);
  return hash;
}

/** Names mode and halt in the title, which is all that a tab in the background shows. */
function useTitle(view: string): void {
  const state = useStore(routerState).data;
  useEffect(() => {
    const title = VIEWS.find(([name]) => name === view)?.[1] ?? "";
    const halted = state?.trading_state === "halted" ? "HALTED · " : "";
    document.title = `${halted}${state?.mode === "live" ? "LIVE · " : ""}${title} · order-router`;
  }, [view, state?.trading_state, state?.mode]);
}

function Clock() {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return <time class="clock num">{clockTime(now)} UTC</time>;
}
