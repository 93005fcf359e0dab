import { type Ref, type SyntheticEvent, useImperativeHandle, useLayoutEffect, useRef } from "react";

/** What woke a control: the first event that mattered, and the element that it came to. */
export interface Waking {
  element: HTMLElement;
  event: SyntheticEvent;
}

interface Props {
  waking: Waking;
  ref?: Ref<HTMLElement>;
  [prop: string]: unknown;
}

type Attribute = string | boolean | undefined;
type Listen = (event: Event | SyntheticEvent) => void;

/**
 * The child of a Radix trigger whose element is drawn elsewhere: what Radix would have that element be is put on it.
 *
 * So what opens at a control is made when the control is first used, and the control itself stays: drawn anew within a
 * trigger it would lose the focus. A page has hundreds of them, of which few are ever used.
 */
export function StandIn({ waking, ref, ...props }: Props) {
  const { element, event } = waking;
  const latest = useRef(props);
  const told = useRef<SyntheticEvent | null>(null);
  useImperativeHandle(ref, () => element, [element]);
  useLayoutEffect(() => {
    latest.current = props;
    for (const [name, value] of Object.entries(props))
      if (/^(aria-|data-|id$)/.test(name)) put(element, name, value as Attribute);
  });
  useLayoutEffect(() => {
    const stopping = new AbortController();
    for (const name of Object.keys(latest.current).filter((prop) => /^on[A-Z]/.test(prop))) {
      const type = name.slice(2).toLowerCase();
      const listen: Listen = (heard) => (latest.current[name] as Listen | undefined)?.(heard);
      element.addEventListener(type, listen, { signal: stopping.signal });
      if (type !== event.type || told.current === event) continue;
      told.current = event;
      listen(event); // it came before anybody listened
    }
    return () => stopping.abort();
  }, [element, event]);
  return null;
}

function put(element: HTMLElement, name: string, value: Attribute): void {
  if (value === undefined) element.removeAttribute(name);
  else element.setAttribute(name, String(value));
}
