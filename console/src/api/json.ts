/** JSON as the console reads it: every number is the text that the router wrote, so that no digit is lost. */
export type Exact<T> = T extends number ? string : T extends object ? { [K in keyof T]: Exact<T[K]> } : T;

/** A string, or a number outside of strings. */
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** Parses JSON and returns its numbers as text. A binary float never holds a price or a quantity. */
export function parseExact<T>(text: string): Exact<T> {
  const quoted = text.replace(STRING_OR_NUMBER, (token) => (token.startsWith('"') ? token : `"${token}"`));
  return JSON.parse(quoted) as Exact<T>;
}
