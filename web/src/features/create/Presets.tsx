import { FieldFault } from "@/components/Field";
import { Ellipsis, RotateCcw } from "lucide-react";

import { Button } from "@/components/Button";
import { Menu } from "@/components/Menu";
import { Segmented } from "@/components/Segmented";
import { Tip } from "@/components/Tip";
import type { Offer, Preset } from "@/lib/offer";

import styles from "./Presets.module.css";
import { change, useDesk } from "./desk";
import { presetNameOf, shownOf, withPreset } from "./draft";

const USUAL = ["fast", "quality"];

/** Fast or quality in one touch; the model's other presets in a menu. */
export function Presets({ offer }: { offer: Offer }) {
  const draft = useDesk((desk) => desk.draft);
  const fault = useDesk((desk) => desk.faults.preset);
  const chosen = presetNameOf(draft, offer);
  const names = Object.keys(offer.presets);
  const usual = names.filter((name) => USUAL.includes(name));
  const near = usual.length ? usual : names.slice(0, 2);
  const shown = near.includes(chosen) || !chosen ? near : [...near, chosen];
  const others = names.filter((name) => !near.includes(name));
  const choose = (name: string): void => change((one) => withPreset(one, name));
  return (
    <div>
      <div className={styles.presets}>
        <Segmented
          label="Preset"
          value={chosen}
          options={shown.map((name) => ({ value: name, label: capital(name), title: said(offer.presets[name]) }))}
          onChange={choose}
        />
        {others.length ? (
          <Menu
            align="start"
            trigger={<Button look="ghost" size="small" aria-label="More presets" icon={<Ellipsis />} />}
            groups={[
              others.map((name) => ({
                label: capital(name),
                note: said(offer.presets[name]),
                onSelect: () => choose(name),
              })),
            ]}
          />
        ) : null}
        {shownOf(draft, offer).isChanged ? (
          <Tip text="Changed: back to the preset's own values">
            <Button
              look="ghost"
              size="small"
              aria-label="Back to the preset's own values"
              icon={<RotateCcw />}
              onClick={() => choose(chosen)}
            />
          </Tip>
        ) : null}
      </div>
      <FieldFault>{fault}</FieldFault>
    </div>
  );
}

const capital = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

function said(preset: Preset | undefined): string {
  if (!preset) return "";
  const facts = [
    preset.num_inference_steps !== null && `${preset.num_inference_steps} steps`,
    preset.solver,
    preset.guidance_scale !== null && `guidance ${preset.guidance_scale}`,
    ...Object.keys(preset.adapters).map((name) => `with ${name}`),
  ];
  return facts.filter(Boolean).join(", ");
}
