import { useForm } from "react-hook-form";

import { Button } from "@/components/Button";
import { Dialog } from "@/components/Dialog";
import { Field } from "@/components/Field";
import { Input } from "@/components/inputs";
import type { Job } from "@/lib/api/client";
import { inputOf } from "@/lib/jobs";

import styles from "./Table.module.css";

const BOUNDS = { min: -100, max: 100 };
const WRONG = "A whole number from -100 to 100.";

interface Props {
  job: Job;
  onChange: (priority: number) => void;
  onClose: () => void;
}

/** Asks where a job that waits shall stand among its owner's. */
export function PriorityDialog({ job, onChange, onClose }: Props) {
  const { register, handleSubmit, formState } = useForm({ defaultValues: { priority: job.priority } });
  const change = handleSubmit(({ priority }) => {
    onChange(priority);
    onClose();
  });
  return (
    <Dialog
      isOpen
      title="Change its priority?"
      description={`“${inputOf(job).prompt}”, of ${job.tenant}. Of its owner's jobs those with the higher priority go first; nobody else's turn is taken.`}
      onClose={onClose}
    >
      <form onSubmit={change} noValidate className={styles.section}>
        <Field label="Priority" hint={WRONG} error={formState.errors.priority && WRONG}>
          {({ id, describedBy }) => (
            <Input
              id={id}
              type="number"
              step={1}
              {...BOUNDS}
              aria-describedby={describedBy}
              aria-invalid={Boolean(formState.errors.priority)}
              {...register("priority", { valueAsNumber: true, ...BOUNDS, validate: Number.isInteger })}
            />
          )}
        </Field>
        <div className={styles.acts}>
          <Button onClick={onClose}>Keep as it is</Button>
          <Button type="submit" look="main">
            Change
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
