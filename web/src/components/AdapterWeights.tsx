import { FieldFault } from "./Field";
import { Plus, X } from "lucide-react";

import { Button } from "./Button";
import { Menu } from "./Menu";
import { Slider } from "./Slider";
import styles from "./AdapterWeights.module.css";

const MOST = 2; // on the track; the API takes more, and no adapter looks right there

interface Props {
  weights: readonly (readonly [string, number])[];
  /** Those that can be added. */
  others: readonly string[];
  isFull: boolean;
  fault?: string | undefined;
  /** Null takes the adapter away. */
  onWeigh: (name: string, weight: number | null) => void;
}

/** Adapters, each with its weight: 1 is what it was made for, 0 leaves it out. */
export function AdapterWeights({ weights, others, isFull, fault, onWeigh }: Props) {
  return (
    <div className={styles.adapters} role="group" aria-label="Adapters">
      {weights.map(([name, weight]) => (
        <div key={name} className={styles.adapter}>
          <span className={styles.name}>{name}</span>
          <Slider
            label={`Weight of ${name}`}
            value={weight}
            min={-100}
            max={100}
            trackMin={-MOST}
            trackMax={MOST}
            step={0.05}
            onChange={(said) => onWeigh(name, said)}
          />
          <Button
            look="ghost"
            size="small"
            aria-label={`Without ${name}`}
            icon={<X />}
            onClick={() => onWeigh(name, null)}
          />
        </div>
      ))}
      <div>
        <Menu
          align="start"
          trigger={
            <Button size="small" look="ghost" icon={<Plus />} disabled={others.length === 0 || isFull}>
              Adapter
            </Button>
          }
          groups={[others.map((name) => ({ label: name, onSelect: () => onWeigh(name, 1) }))]}
        />
      </div>
      <FieldFault>{fault}</FieldFault>
    </div>
  );
}
