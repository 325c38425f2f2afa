/** Calls a function now and then again and again, never twice at a time. Returns a function that calls it at once. */
export interface Poll {
  /** Calls the function now, or once more right after the call in progress. */
  now(): void;
  stop(): void;
}

export function poll(read: () => Promise<void>, interval: number): Poll {
  let isRunning = false;
  let isWanted = false;
  let isStopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const run = async () => {
    if (isStopped) return;
    if (isRunning) {
      isWanted = true;
      return;
    }
    clearTimeout(timer);
    isRunning = true;
    try {
      await read();
    } finally {
      isRunning = false;
    }
    if (isWanted) {
      isWanted = false;
      timer = setTimeout(() => void run(), 50);
    } else {
      timer = setTimeout(() => void run(), interval);
    }
  };
  void run();
  return {
    now: () => void run(),
    stop: () => {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}
