/** Exact decimals as text, as the API writes them: compared and divided as whole numbers, never as floats. */

const DECIMAL = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;
/** The exponents that are written out. */
const MAX_EXPONENT = 64;

interface Parts {
  digits: bigint;
  /** The number of decimals. */
  scale: number;
}

function parse(text: string): Parts | null {
  const match = DECIMAL.exec(text);
  if (!match) return null;
  const [, sign = "", whole = "0", fraction = "", exponent = "0"] = match;
  const shift = Number(exponent);
  if (Math.abs(shift) > MAX_EXPONENT) return null;
  const scale = fraction.length - shift;
  const digits = BigInt(`${sign}${whole}${fraction}`);
  return scale >= 0 ? { digits, scale } : { digits: digits * 10n ** BigInt(-scale), scale: 0 };
}

function aligned(left: Parts, right: Parts): [bigint, bigint, number] {
  const scale = Math.max(left.scale, right.scale);
  return [left.digits * 10n ** BigInt(scale - left.scale), right.digits * 10n ** BigInt(scale - right.scale), scale];
}

/** Returns -1, 0 or 1; 0 for a text that is no number. */
export function sign(text: string | null): number {
  const parts = text === null ? null : parse(text);
  if (!parts || parts.digits === 0n) return 0;
  return parts.digits < 0n ? -1 : 1;
}

export function isZero(text: string): boolean {
  return parse(text)?.digits === 0n;
}

/** Returns the number without its sign. */
export function magnitude(text: string): string {
  return text.replace(/^-/, "");
}

/** Returns the sum of two numbers; null if one is none. */
export function add(left: string, right: string): string | null {
  const [a, b] = [parse(left), parse(right)];
  if (!a || !b) return null;
  const [x, y, scale] = aligned(a, b);
  return write({ digits: x + y, scale });
}

/** Returns how much of a limit a value is, in tenths of a percent, rounded down; null without a limit above zero. */
export function perMille(value: string, limit: string): number | null {
  const [a, b] = [parse(value), parse(limit)];
  if (!a || !b || b.digits <= 0n) return null;
  const [x, y] = aligned(a, b);
  const used = (x * 1000n) / y;
  return Number(used > 1_000_000n ? 1_000_000n : used < -1_000_000n ? -1_000_000n : used);
}

function write({ digits, scale }: Parts): string {
  const negative = digits < 0n;
  const text = (negative ? -digits : digits).toString().padStart(scale + 1, "0");
  const whole = text.slice(0, text.length - scale);
  const fraction = scale > 0 ? text.slice(-scale).replace(/0+$/, "") : "";
  return `${negative ? "-" : ""}${whole}${fraction === "" ? "" : `.${fraction}`}`;
}

/** Returns a number for a person: all its digits, thousands separated, with a minus sign. */
export function formatDecimal(text: string | null | undefined): string {
  if (text === null || text === undefined) return "–";
  const parts = parse(text);
  if (!parts) return text;
  const [whole = "", fraction] = write(parts).replace(/^-/, "").split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  return `${parts.digits < 0n ? "−" : ""}${grouped}${fraction === undefined ? "" : `.${fraction}`}`;
}

/** Returns a profit or loss with its sign. */
export function formatSigned(text: string | null | undefined): string {
  if (text === null || text === undefined) return "–";
  return sign(text) > 0 ? `+${formatDecimal(text)}` : formatDecimal(text);
}
