import type { InputHTMLAttributes, Ref, SelectHTMLAttributes, TextareaHTMLAttributes } from "react";

import styles from "./inputs.module.css";

type WithRef<P, E> = P & { ref?: Ref<E> };

export function Input({ className, ...rest }: WithRef<InputHTMLAttributes<HTMLInputElement>, HTMLInputElement>) {
  const look = rest.type === "number" ? styles.number : styles.input;
  return <input className={[look, className].filter(Boolean).join(" ")} {...rest} />;
}

export function TextArea(props: WithRef<TextareaHTMLAttributes<HTMLTextAreaElement>, HTMLTextAreaElement>) {
  return <textarea className={styles.area} {...props} />;
}

/** The system's own select: it is good on phones, with keyboards and with screen readers. */
export function Select(props: WithRef<SelectHTMLAttributes<HTMLSelectElement>, HTMLSelectElement>) {
  return <select className={styles.select} {...props} />;
}
