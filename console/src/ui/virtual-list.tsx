import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

/** The rows above and below the visible ones that are rendered, too. */
const OVERSCAN = 12;

/** A list that renders the visible rows only. Arrow keys move the current row, Enter opens it. */
export function VirtualList({ count, rowHeight, version, added, label, columns, renderRow, rowId, onOpen, header }: {
  count: number;
  rowHeight: number;
  /** Raised when a row has changed. */
  version: number;
  /** How many rows have been put above the first one: a reader who has scrolled keeps the rows in view. */
  added: number;
  label: string;
  columns: number;
  header: ComponentChildren;
  renderRow: (at: number) => ComponentChildren;
  rowId: (at: number) => string | undefined;
  onOpen: (at: number) => void;
}) {
  const viewport = useRef<HTMLDivElement>(null);
  const [range, setRange] = useState({ first: 0, last: 0 });
  const [current, setCurrent] = useState(-1);
  const knownAdded = useRef(added);

  const measure = () => {
    const element = viewport.current;
    if (!element) return;
    const first = Math.max(0, Math.floor(element.scrollTop / rowHeight) - OVERSCAN);
    const last = Math.min(count, Math.ceil((element.scrollTop + element.clientHeight) / rowHeight) + OVERSCAN);
    setRange((known) => (known.first === first && known.last === last ? known : { first, last }));
  };

  useLayoutEffect(() => {
    const element = viewport.current;
    const more = added - knownAdded.current;
    knownAdded.current = added;
    if (element && more > 0) {
      if (element.scrollTop > rowHeight) element.scrollTop += more * rowHeight;
      setCurrent((known) => (known < 0 ? known : known + more));
    }
    measure();
  }, [count, added, version]);

  useEffect(() => {
    const element = viewport.current;
    if (!element) return;
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [count]);

  const move = (to: number) => {
    const element = viewport.current;
    if (!element || count === 0) return;
    const next = Math.min(Math.max(to, 0), count - 1);
    setCurrent(next);
    const top = next * rowHeight;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + rowHeight > element.scrollTop + element.clientHeight) element.scrollTop = top + rowHeight - element.clientHeight;
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const page = Math.max(1, Math.floor((viewport.current?.clientHeight ?? 0) / rowHeight) - 1);
    const steps: Record<string, number> = {
      ArrowDown: current + 1, ArrowUp: current - 1, PageDown: current + page, PageUp: current - page, Home: 0, End: count - 1,
    };
    const target = steps[event.key];
    if (target !== undefined) {
      event.preventDefault();
      move(target);
    } else if (event.key === "Enter" && current >= 0) {
      event.preventDefault();
      onOpen(current);
    }
  };

  const visible: ComponentChildren[] = [];
  for (let at = range.first; at < Math.min(range.last, count); at += 1) {
    visible.push(
      <div
        key={rowId(at) ?? `row-${at}`}
        id={`row-${at}`}
        role="row"
        aria-rowindex={at + 2}
        aria-selected={at === current}
        class={`list-row${at === current ? " current" : ""}`}
        style={{ transform: `translateY(${at * rowHeight}px)` }}
        onClick={() => { setCurrent(at); onOpen(at); }}
      >
        {renderRow(at)}
      </div>,
    );
  }
  return (
    <div
      class="list"
      role="grid"
      aria-label={label}
      aria-rowcount={count + 1}
      aria-colcount={columns}
      tabIndex={0}
      aria-activedescendant={current >= range.first && current < range.last ? `row-${current}` : undefined}
      onKeyDown={onKeyDown}
    >
      <div class="list-head" role="row" aria-rowindex={1}>{header}</div>
      <div ref={viewport} class="list-view" role="rowgroup" tabIndex={-1} onScroll={measure}>
        <div class="list-space" style={{ height: `${count * rowHeight}px` }}>{visible}</div>
      </div>
    </div>
  );
}
