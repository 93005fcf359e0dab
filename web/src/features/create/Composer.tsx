import { type Ref, useCallback } from "react";

import { Button } from "@/components/Button";
import { Field } from "@/components/Field";
import { Fault } from "@/components/Notice";
import { Select } from "@/components/inputs";
import type { Model } from "@/lib/api/client";
import type { Offer } from "@/lib/offer";

import { Adapters } from "./Adapters";
import { Advanced } from "./Advanced";
import styles from "./Composer.module.css";
import { change, useDesk } from "./desk";
import { Given } from "./Given";
import { ImageCount } from "./ImageCount";
import { make } from "./making";
import { OwnInputs } from "./OwnInputs";
import { Presets } from "./Presets";
import { PromptBox } from "./PromptBox";
import { SizePicker } from "./SizePicker";

interface Props {
  offer: Offer;
  models: readonly Pick<Model, "id" | "problem">[];
  box: Ref<HTMLTextAreaElement>;
}

const IS_MAC = /mac|iphone|ipad/i.test(navigator.userAgent);

/** All that a job can be told, the usual first. */
export function Composer({ offer, models, box }: Props) {
  const fault = useDesk((desk) => desk.fault);
  const submit = useCallback(() => void make(offer), [offer]);
  return (
    <form
      className={styles.composer}
      aria-label="Composer"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <div className={styles.fields}>
        <PromptBox model={offer.model} most={offer.promptLength} box={box} onMake={submit} />
        {models.length > 1 ? <ModelSelect models={models} value={offer.model} /> : null}
        <div className={styles.row}>
          {offer.defaultPreset ? <Presets offer={offer} /> : null}
          <ImageCount range={offer.images} noun={offer.noun} />
        </div>
        {offer.inputs.includes("width") ? <SizePicker offer={offer} /> : null}
        <OwnInputs offer={offer} />
        <Given offer={offer} />
        <Adapters offer={offer} />
        <Advanced offer={offer} />
      </div>
      <div className={styles.make}>
        {fault ? <Fault error={fault} onRetry={submit} /> : null}
        <Button type="submit" look="main" size="large" aria-keyshortcuts={IS_MAC ? "Meta+Enter" : "Control+Enter"}>
          Make
          <kbd className={styles.keys}>{IS_MAC ? "⌘ ↵" : "Ctrl ↵"}</kbd>
        </Button>
      </div>
    </form>
  );
}

function ModelSelect({ models, value }: { models: Props["models"]; value: string }) {
  const fault = useDesk((desk) => desk.faults.model);
  const problem = models.find((model) => model.id === value)?.problem;
  return (
    <Field label="Model" error={fault ?? problem ?? undefined}>
      {({ id, describedBy }) => (
        <Select
          id={id}
          value={value}
          aria-describedby={describedBy}
          onChange={(event) => change({ model: event.target.value })}
        >
          {models.map((model) => (
            <option key={model.id} value={model.id}>
              {model.id}
            </option>
          ))}
        </Select>
      )}
    </Field>
  );
}
