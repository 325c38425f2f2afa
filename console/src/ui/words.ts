import type { Mode, OrderStatus, RiskSignal, TradingState } from "../api/types";

/** The words of the router, as the page writes them. */
export const STATUS_WORDS: Record<OrderStatus, string> = {
  accepted: "Accepted",
  partially_filled: "Partly filled",
  filled: "Filled",
  cancelled: "Cancelled",
  rejected: "Rejected",
  expired: "Expired",
  unknown: "Unknown",
};

export const TRADING_STATE_WORDS: Record<TradingState, { title: string; meaning: string }> = {
  active: { title: "Active", meaning: "Every order that passes the rules is sent." },
  reduce_only: { title: "Reduce only", meaning: "Only orders that reduce a position, and cancels, pass." },
  halted: { title: "Trading is halted", meaning: "Only cancels pass. Positions stay open." },
};

export const MODE_WORDS: Record<Mode, { title: string; meaning: string }> = {
  paper: { title: "Paper", meaning: "Simulated fills. Nothing leaves the router." },
  dry_run: { title: "Dry run", meaning: "Rules are evaluated. Nothing is sent." },
  live: { title: "Live", meaning: "Orders go to the venues. Real money." },
};

const RULE_WORDS: Record<string, string> = {
  trading_state: "Trading state",
  order_size: "Order size",
  max_notional: "Notional",
  position_limit: "Position",
  price_collar: "Price collar",
  max_daily_notional: "Daily notional",
  max_daily_loss: "Daily loss",
  stop_loss: "Stop loss",
  unpriced_fee: "Unpriced fee",
  order_rate: "Order rate",
  max_open_orders: "Open orders",
  duplicate_order: "Duplicate order",
  operator: "Operator",
};

const LABEL_WORDS: Record<string, string> = { long: "long", short: "short", account: "account", order: "one order" };

/** Returns the name of a rule, or of one of its limits such as `position_limit.long`. */
export function ruleWords(name: string): string {
  const [rule = name, label] = name.split(".");
  const words = RULE_WORDS[rule] ?? rule;
  return label === undefined ? words : `${words}, ${LABEL_WORDS[label] ?? label}`;
}

/** Returns what a signal did: an alert lets the order pass, a lock denies an order or closes an account. */
export function levelWords(signal: RiskSignal): string {
  if (signal.level === "alert") return "Alert";
  return signal.client_order_id === null ? "Lock" : "Denied";
}
