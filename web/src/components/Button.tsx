import type { ButtonHTMLAttributes, ReactNode, Ref } from "react";

import styles from "./Button.module.css";

interface Props extends ButtonHTMLAttributes<HTMLButtonElement> {
  look?: "main" | "plain" | "ghost" | "danger";
  size?: "small" | "usual" | "large";
  icon?: ReactNode;
  ref?: Ref<HTMLButtonElement>;
}

/** A button; with an icon and no text it needs an `aria-label`. */
export function Button({ look = "plain", size = "usual", icon, children, className, ref, ...rest }: Props) {
  const names = [styles.button, styles[look], styles[size], !children && styles.square, className];
  return (
    <button ref={ref} type="button" className={names.filter(Boolean).join(" ")} {...rest}>
      {icon}
      {children}
    </button>
  );
}
