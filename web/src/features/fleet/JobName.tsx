import { useJob } from "@/lib/api/queries";
import { inputOf } from "@/lib/jobs";

import styles from "./JobName.module.css";
import { cssOf } from "./colours";
import { useLook } from "./look";
import { colours } from "./watch";

/** The colour that a job has in the tick view. */
export function Swatch({ job }: { job: string }) {
  const look = useLook();
  const colour = cssOf(colours.of(job), look.jobLightness, look.jobChroma);
  return <i aria-hidden className={styles.swatch} style={{ background: colour }} />;
}

/** A job as people know it: by its prompt, and by its id until that is known. */
export function JobName({ id }: { id: string }) {
  const job = useJob(id).data;
  return (
    <span className={styles.name} title={id}>
      {job ? inputOf(job).prompt : id.replace(/^job-/, "").slice(0, 8)}
    </span>
  );
}
