import { parseExact, type Exact } from "./json";
import type { HealthChecks, Problem } from "./types";

/** How long a request may take. The router answers within 5 s. */
const REQUEST_TIMEOUT_MS = 10_000;
const EXACT_JSON = "application/json; numbers=string";

/** The API key: in this variable only, never in storage, a cookie or an address. */
let apiKey: string | null = null;

export function setApiKey(key: string | null): void {
  apiKey = key;
}

/** A request that the sidecar answered with a problem document. */
export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly checks: HealthChecks | null,
  ) {
    super(detail);
  }
}

/** A request that got no answer. */
export class Unreachable extends Error {}

/** Returns the sentence that an error shows to a person. */
export function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Returns the address of a path of the API, below the path prefix that the page has. */
export function apiUrl(path: string): string {
  return new URL(path, document.baseURI).href;
}

export interface RequestOptions {
  method?: "GET" | "POST" | "PUT";
  body?: object;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** Sends a request with the key. */
export async function send(path: string, options: RequestOptions = {}): Promise<Response> {
  const headers = new Headers({ Accept: EXACT_JSON, ...options.headers });
  if (apiKey !== null) headers.set("Authorization", `Bearer ${apiKey}`);
  const init: RequestInit = { method: options.method ?? "GET", headers, cache: "no-store", credentials: "same-origin" };
  if (options.body !== undefined) {
    headers.set("Content-Type", "application/json");
    init.body = JSON.stringify(options.body);
  }
  if (options.signal) init.signal = options.signal;
  try {
    return await fetch(apiUrl(path), init);
  } catch (error) {
    if (options.signal?.aborted && !(options.signal.reason instanceof DOMException && options.signal.reason.name === "TimeoutError")) throw error;
    throw new Unreachable(unreachableSentence(init.method ?? "GET"));
  }
}

function unreachableSentence(method: string): string {
  const lost = "No answer from the sidecar.";
  return method === "GET" ? lost : `${lost} The request may have taken effect: check the state before you repeat it.`;
}

/** Sends a request and returns its JSON, with the status. Throws ApiProblem or Unreachable. */
export async function request<T>(path: string, options: RequestOptions = {}): Promise<{ status: number; body: Exact<T> }> {
  const signal = options.signal ?? AbortSignal.timeout(REQUEST_TIMEOUT_MS);
  const response = await send(path, { ...options, signal });
  const text = await readText(response, options.method ?? "GET");
  if (!response.ok) throw problemOf(response.status, text);
  return { status: response.status, body: parseExact<T>(text) };
}

/** Reads JSON. */
export async function get<T>(path: string): Promise<T> {
  const { body } = await request<T>(path);
  return body as T;
}

async function readText(response: Response, method: string): Promise<string> {
  try {
    return await response.text();
  } catch {
    throw new Unreachable(unreachableSentence(method));
  }
}

/** Returns the problem of a response; a proxy in between may answer with something else. */
export function problemOf(status: number, text: string): ApiProblem {
  try {
    const problem = parseExact<Problem & { checks?: HealthChecks }>(text) as Problem & { checks?: HealthChecks };
    if (typeof problem.detail === "string") {
      return new ApiProblem(status, problem.code, problem.detail, problem.checks ?? null);
    }
  } catch {
    // Not JSON: the status is all there is.
  }
  return new ApiProblem(status, "unexpected", `The answer has the status ${status} and no explanation.`, null);
}

/** Returns a query string of the values that are not empty. */
export function query(values: Record<string, string | number | null | undefined>): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== "") parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text === "" ? "" : `?${text}`;
}
