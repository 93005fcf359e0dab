import { X } from "lucide-react";
import type { ReactNode } from "react";

import { Button } from "@/components/Button";
import { Field } from "@/components/Field";
import { Input, Select } from "@/components/inputs";

import styles from "./Filters.module.css";
import { ALL, type Choices, type Filter, countChosen } from "./filter";

interface Props {
  filter: Filter;
  choices: Choices;
  onChange: (change: Partial<Filter>) => void;
}

/** What can be chosen from what was made. */
export function Filters({ filter, choices, onChange }: Props) {
  const { models, tasks, sizes, presets, adapters } = choices;
  return (
    <div className={styles.filters}>
      <One name="model" label="Model" filter={filter} onChange={onChange}>
        {models.map((model) => optionOf(model))}
      </One>
      <One name="task" label="Task" filter={filter} onChange={onChange}>
        {tasks.map((task) => optionOf(task, task.replaceAll("-", " ")))}
      </One>
      <One name="size" label="Size" filter={filter} onChange={onChange}>
        {sizes.map((size) => optionOf(size, size.replace("x", " × ")))}
      </One>
      <One name="way" label="Made with" filter={filter} onChange={onChange}>
        {presets.map((name) => optionOf(`preset:${name}`, `preset ${name}`))}
        {adapters.map((name) => optionOf(`adapter:${name}`, `adapter ${name}`))}
      </One>
      <Day name="from" label="From" most={filter.to} filter={filter} onChange={onChange} />
      <Day name="to" label="To" least={filter.from} filter={filter} onChange={onChange} />
      {countChosen(filter) > 0 ? (
        <Button
          look="ghost"
          icon={<X />}
          className={styles.clear}
          onClick={() => onChange({ ...ALL, words: filter.words, order: filter.order })}
        >
          Clear filters
        </Button>
      ) : null}
    </div>
  );
}

const optionOf = (value: string, label: string = value) => (
  <option key={value} value={value}>
    {label}
  </option>
);

interface OneProps<T extends keyof Filter> {
  name: T;
  label: string;
  filter: Filter;
  onChange: (change: Partial<Filter>) => void;
}

/** One of them, or any; what the address asks for stays to be seen where nothing has it. */
function One({
  name,
  label,
  filter,
  onChange,
  children,
}: OneProps<"model" | "task" | "size" | "way"> & { children: ReactNode[] }) {
  const value = filter[name];
  const isKnown = !value || children.flat().some((option) => isOptionOf(option, value));
  return (
    <Field label={label}>
      {({ id }) => (
        <Select id={id} value={value} onChange={(event) => onChange({ [name]: event.target.value })}>
          <option value="">Any</option>
          {isKnown ? null : optionOf(value)}
          {children}
        </Select>
      )}
    </Field>
  );
}

const isOptionOf = (option: ReactNode, value: string): boolean =>
  typeof option === "object" && option !== null && "key" in option && option.key === value;

type DayProps = OneProps<"from" | "to"> & { least?: string; most?: string };

function Day({ name, label, least, most, filter, onChange }: DayProps) {
  return (
    <Field label={label}>
      {({ id }) => (
        <Input
          id={id}
          type="date"
          value={filter[name]}
          min={least || undefined}
          max={most || undefined}
          onChange={(event) => onChange({ [name]: event.target.value })}
        />
      )}
    </Field>
  );
}
