import { Dices, Lock, LockOpen } from "lucide-react";

import { Button } from "@/components/Button";
import { Field } from "@/components/Field";
import { Tip } from "@/components/Tip";
import { Input } from "@/components/inputs";
import { randomSeed } from "@/lib/random";

import styles from "./SeedField.module.css";
import { change, useDesk } from "./desk";
import { seedOf } from "./draft";

/** Open, each job draws its own seed; locked, all have this one. The dice draw one and lock it. */
export function SeedField() {
  const { seed, isSeedLocked } = useDesk((desk) => desk.draft);
  const refused = useDesk((desk) => desk.faults.seed);
  const isWrong = isSeedLocked && seedOf(seed) === null;
  const fault = refused ?? (isWrong ? "A whole number from 0 to 9007199254740991." : undefined);
  const lock = (): void =>
    change(isSeedLocked ? { isSeedLocked: false } : { isSeedLocked: true, seed: seed || String(randomSeed()) });
  const lockName = isSeedLocked ? "Locked: every job has this seed" : "Open: each job draws its own seed";
  return (
    <Field label="Seed" error={fault} hint={isSeedLocked ? undefined : "A new one for each job."}>
      {({ id, describedBy }) => (
        <div className={styles.seed}>
          <Input
            id={id}
            inputMode="numeric"
            className={styles.number}
            value={seed}
            placeholder="drawn"
            data-open={!isSeedLocked || undefined}
            aria-describedby={describedBy}
            aria-invalid={Boolean(fault)}
            onChange={(event) =>
              change({ seed: event.target.value.trim(), isSeedLocked: event.target.value.trim() !== "" })
            }
          />
          <Tip text={lockName}>
            <Button
              aria-label="Lock the seed"
              aria-pressed={isSeedLocked}
              icon={isSeedLocked ? <Lock /> : <LockOpen />}
              onClick={lock}
            />
          </Tip>
          <Tip text="Draw a seed and lock it">
            <Button
              aria-label="Draw a seed"
              icon={<Dices />}
              onClick={() => change({ seed: String(randomSeed()), isSeedLocked: true })}
            />
          </Tip>
        </div>
      )}
    </Field>
  );
}
