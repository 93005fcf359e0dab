import { type ReactNode, useRef } from "react";

import { Button } from "./Button";
import styles from "./PictureField.module.css";

interface Props {
  icon: ReactNode;
  label?: string;
  children?: ReactNode;
  onFile: (file: File) => void;
}

/** A button that asks for a picture of this machine. */
export function PictureChoice({ icon, label, children, onFile }: Props) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <Button
        look={children ? "plain" : "ghost"}
        size={children ? "usual" : "small"}
        className={children ? styles.choice : undefined}
        aria-label={label}
        icon={icon}
        onClick={() => input.current?.click()}
      >
        {children}
      </Button>
      <input
        ref={input}
        type="file"
        hidden
        accept="image/png,image/jpeg,image/webp,image/*"
        onChange={(event) => {
          const file = event.target.files?.[0];
          if (file) onFile(file);
          event.target.value = "";
        }}
      />
    </>
  );
}
