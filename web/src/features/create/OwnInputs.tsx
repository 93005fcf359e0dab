import { Field } from "@/components/Field";
import { Input, Select, TextArea } from "@/components/inputs";
import { type Offer, type OwnInput, labelOf } from "@/lib/offer";

import { change, useDesk } from "./desk";

/** What a plain pipeline takes beside what every model does, and what else can be chosen of another model. */
export function OwnInputs({ offer }: { offer: Offer }) {
  return offer.own.map((input) => <One key={`${offer.model} ${input.name}`} input={input} />);
}

function One({ input }: { input: OwnInput }) {
  const value = useDesk((desk) => desk.draft.own[input.name] ?? "");
  const fault = useDesk((desk) => desk.faults[input.name]);
  const say = (text: string): void => change((draft) => ({ ...draft, own: { ...draft.own, [input.name]: text } }));
  return (
    <Field label={labelOf(input.name)} error={fault} hint={input.description || undefined}>
      {({ id, describedBy }) => {
        const common = { id, value, "aria-describedby": describedBy, placeholder: input.usual };
        if (input.choices.length) return <Choice {...common} choices={input.choices} onSay={say} />;
        if (input.kind === "string") {
          return <TextArea {...common} rows={2} maxLength={2000} onChange={(event) => say(event.target.value)} />;
        }
        return (
          <Input
            {...common}
            type="number"
            step={input.kind === "integer" ? 1 : "any"}
            min={input.min ?? undefined}
            max={input.max ?? undefined}
            onChange={(event) => say(event.target.value)}
          />
        );
      }}
    </Field>
  );
}

interface ChoiceProps {
  id: string;
  value: string;
  placeholder: string;
  "aria-describedby": string | undefined;
  choices: readonly string[];
  onSay: (text: string) => void;
}

function Choice({ placeholder, choices, onSay, ...rest }: ChoiceProps) {
  return (
    <Select {...rest} onChange={(event) => onSay(event.target.value)}>
      <option value="">{placeholder || "As usual"}</option>
      {choices
        .filter((choice) => choice !== placeholder)
        .map((choice) => (
          <option key={choice}>{choice}</option>
        ))}
    </Select>
  );
}
