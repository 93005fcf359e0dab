import { Plus, X } from "lucide-react";

import { Button } from "@/components/Button";
import { Menu } from "@/components/Menu";
import { Slider } from "@/components/Slider";
import type { Offer } from "@/lib/offer";

import styles from "./Adapters.module.css";
import { change, useDesk } from "./desk";
import { adaptersOf, withAdapter } from "./draft";

const MOST = 2; // on the track; the API takes more, and no adapter looks right there

/** The model's adapters, each with its weight: 1 is what it was made for, 0 leaves it out. */
export function Adapters({ offer }: { offer: Offer }) {
  const draft = useDesk((desk) => desk.draft);
  const fault = useDesk((desk) => desk.faults.adapters);
  if (offer.adapters.length === 0) return null;
  const weights = adaptersOf(draft, offer);
  const others = offer.adapters.filter((name) => !(name in weights));
  const weigh = (name: string, weight: number | null): void => change((one) => withAdapter(one, offer, name, weight));
  const isFull = Object.keys(weights).length >= offer.maxAdapters;
  return (
    <div className={styles.adapters} role="group" aria-label="Adapters">
      {Object.entries(weights).map(([name, weight]) => (
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
            onChange={(said) => weigh(name, said)}
          />
          <Button
            look="ghost"
            size="small"
            aria-label={`Without ${name}`}
            icon={<X />}
            onClick={() => weigh(name, null)}
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
          groups={[others.map((name) => ({ label: name, onSelect: () => weigh(name, 1) }))]}
        />
      </div>
      {fault ? (
        <p className={styles.fault} role="alert">
          {fault}
        </p>
      ) : null}
    </div>
  );
}
