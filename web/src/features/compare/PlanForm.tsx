import { ArrowLeftRight, ChevronRight } from "lucide-react";

import { Button } from "@/components/Button";
import { Field } from "@/components/Field";
import { Tip } from "@/components/Tip";
import { Select, TextArea } from "@/components/inputs";
import type { Model } from "@/lib/api/client";
import type { Offer } from "@/lib/offer";

import { AxisField } from "./AxisField";
import { changePlan, changeSettings, useDesk } from "./desk";
import { Fixed } from "./Fixed";
import { Given } from "./Given";
import { isVaried } from "./grid";
import styles from "./PlanForm.module.css";

interface Props {
  offer: Offer;
  models: readonly Pick<Model, "id" | "problem">[];
}

/** What the grid is made of: two settings that vary, and all that stays the same. */
export function PlanForm({ offer, models }: Props) {
  const plan = useDesk((desk) => desk.plan);
  const { across, down, settings } = plan;
  const ids = models.map(({ id }) => id);
  return (
    <form className={styles.form} aria-label="Grid" onSubmit={(event) => event.preventDefault()}>
      {isVaried(plan, "prompt") ? null : (
        <Field label="Prompt">
          {({ id }) => (
            <TextArea
              id={id}
              rows={3}
              value={settings.prompt}
              maxLength={offer.promptLength}
              placeholder="What shall all of them show?"
              onChange={(event) => changeSettings({ prompt: event.target.value })}
            />
          )}
        </Field>
      )}
      {isVaried(plan, "model") || models.length < 2 ? null : <ModelSelect models={models} value={settings.model} />}
      <AxisField
        label="Across"
        axis={across}
        other={down}
        offer={offer}
        models={ids}
        isFromPicture={settings.start !== null}
        onChange={(axis) => changePlan({ across: axis })}
      />
      <div className={styles.swap}>
        <Tip text="Across becomes down, and down across">
          <Button
            look="ghost"
            size="small"
            icon={<ArrowLeftRight />}
            onClick={() => changePlan({ across: down, down: across })}
          >
            Swap
          </Button>
        </Tip>
      </div>
      <AxisField
        label="Down"
        axis={down}
        other={across}
        offer={offer}
        models={ids}
        isFromPicture={settings.start !== null}
        onChange={(axis) => changePlan({ down: axis })}
      />
      <Given offer={offer} />
      <details className={styles.fixed}>
        <summary>
          <ChevronRight aria-hidden />
          The same in all
        </summary>
        <Fixed offer={offer} />
      </details>
    </form>
  );
}

function ModelSelect({ models, value }: { models: Props["models"]; value: string }) {
  const model = models.find(({ id }) => id === value);
  const problem = model ? model.problem : value && `${value} is not served here.`;
  return (
    <Field label="Model" error={problem || undefined}>
      {({ id, describedBy }) => (
        <Select
          id={id}
          value={value}
          aria-describedby={describedBy}
          onChange={(event) => changeSettings({ model: event.target.value })}
        >
          {model ? null : <option value={value}>{value}</option>}
          {models.map((one) => (
            <option key={one.id} value={one.id}>
              {one.id}
            </option>
          ))}
        </Select>
      )}
    </Field>
  );
}
