import type { ComponentChildren } from "preact";
import type { OrderStatus } from "../api/types";
import { formatDecimal, formatSigned, perMille, sign } from "../lib/decimal";
import { STATUS_WORDS } from "./words";

/** A status in a word, with a shape and a colour of its own. */
export function StatusChip({ status }: { status: OrderStatus }) {
  return <span class={`chip status-${status}`}>{STATUS_WORDS[status]}</span>;
}

/** A number with all its digits. */
export function Amount({ value, title }: { value: string | null | undefined; title?: string }) {
  return <span class="num" title={title}>{formatDecimal(value)}</span>;
}

/** A profit or a loss: its sign is written, the colour only repeats it. */
export function Profit({ value }: { value: string | null | undefined }) {
  const direction = sign(value ?? null);
  const tone = direction > 0 ? "gain" : direction < 0 ? "loss" : "";
  return <span class={`num ${tone}`}>{formatSigned(value)}</span>;
}

/** The share of a limit from which a bar warns; the rules alert from the same share on by default. */
const WARN_PER_MILLE = 800;

/** Returns the class of a share of a limit: near it, over it, or neither. */
export function shareTone(share: number | null): "" | "near" | "over" {
  if (share === null || share < WARN_PER_MILLE) return "";
  return share >= 1000 ? "over" : "near";
}

/** How much of a limit is used, as a bar and in words. */
export function Usage({ label, used, limit, unit, note }: {
  label: string;
  /** The used amount; null while it is unknown. */
  used: string | null;
  limit: string | null;
  unit?: string | undefined;
  note?: ComponentChildren;
}) {
  const share = used === null || limit === null ? null : Math.max(0, perMille(used, limit) ?? 0);
  const tone = shareTone(share);
  const words = share === null ? (limit === null ? "no limit" : "unknown") : `${percent(share)} of the limit`;
  return (
    <div class={`usage ${tone}`}>
      <div class="usage-head">
        <span class="usage-label">{label}</span>
        <span class="usage-figures num">
          {formatDecimal(used)}{limit === null ? "" : ` / ${formatDecimal(limit)}`}{unit === undefined ? "" : ` ${unit}`}
        </span>
      </div>
      <Meter share={share} label={`${label}: ${words}`} />
      <div class="usage-foot">
        <span>{tone === "over" ? "Limit reached: " : tone === "near" ? "Near the limit: " : ""}{words}</span>
        {note}
      </div>
    </div>
  );
}

/** The bar alone. */
export function Meter({ share, label }: { share: number | null; label: string }) {
  const tone = shareTone(share);
  const width = `${Math.min(Math.max(share ?? 0, 0), 1000) / 10}%`;
  return (
    <div class={`meter ${tone}`} role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={(share ?? 0) / 10}>
      <div class="meter-fill" style={{ width }} />
    </div>
  );
}

/** Returns tenths of a percent as a text. */
export function percent(share: number): string {
  return `${(share / 10).toFixed(1)} %`;
}

export function Panel({ title, aside, children, class: extra = "" }: {
  title: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
  class?: string;
}) {
  return (
    <section class={`panel ${extra}`} aria-label={title}>
      <header class="panel-head">
        <h2>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  );
}

/** Why something could not be read. */
export function ReadError({ error }: { error: string | null }) {
  return error === null ? null : <p class="read-error" role="alert">{error}</p>;
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** Bars of a series, one for each value; the tallest has the full height. */
export function Bars({ values, label }: { values: readonly number[]; label: string }) {
  const tallest = Math.max(1, ...values);
  return (
    <svg class="bars" viewBox={`0 0 ${values.length} 24`} preserveAspectRatio="none" role="img" aria-label={label}>
      {values.map((value, at) => {
        const height = value === 0 ? 0.5 : Math.max(1, (value / tallest) * 24);
        return <rect key={at} x={at + 0.1} y={24 - height} width={0.8} height={height} />;
      })}
    </svg>
  );
}
