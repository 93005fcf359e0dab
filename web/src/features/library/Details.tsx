import { Fragment, type ReactNode } from "react";

import type { Artifact, Job } from "@/lib/api/client";
import { bytes, dollars, moment, seconds } from "@/lib/format";
import { marginsOf, marginsSaid } from "@/lib/margins";
import { inputOf } from "@/lib/jobs";

import styles from "./Details.module.css";

type Fact = readonly [string, ReactNode];

/** All that is known of a picture: what was asked for, how it went, what it took. */
export function Details({ job, output }: { job: Job; output: Artifact }) {
  const groups: [string, Fact[]][] = [
    ["Settings", settingsOf(job, output)],
    ["Times and cost", costsOf(job)],
    ["File", fileOf(job, output)],
  ];
  return (
    <div className={styles.details}>
      <p className={styles.prompt}>{inputOf(job).prompt}</p>
      {groups.map(([name, facts]) => (
        <Fragment key={name}>
          <h3>{name}</h3>
          <dl className={`${styles.facts} numbers`}>
            {facts.map(([label, value]) => (
              <div key={label}>
                <dt>{label}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        </Fragment>
      ))}
      {job.warnings.map((warning) => (
        <p key={warning} className={styles.warning}>
          {warning}
        </p>
      ))}
    </div>
  );
}

function settingsOf(job: Job, output: Artifact): Fact[] {
  const input = inputOf(job);
  const adapters = Object.entries(input.adapters ?? {}).map(([name, weight]) => `${name} ${weight}`);
  const from = [
    input.image && "a picture",
    input.mask_image && "a mask",
    input.control_image && "a control image",
    input.ip_adapter_image && "an image prompt",
  ];
  return said([
    ["Without", input.negative_prompt],
    ["Model", job.model],
    ["Task", job.task.replaceAll("-", " ")],
    ["From", from.filter(Boolean).join(", ")],
    ["Strength", input.strength],
    ["Control", input.controlnet_conditioning_scale],
    ["Image prompt", input.ip_adapter_scale],
    ["Margins", input.outpaint && marginsSaid(marginsOf(input.outpaint), ", ")],
    ["Adapters", adapters.join(", ")],
    ["Steps", input.num_inference_steps],
    ["Refiner from", input.denoising_end],
    ["Guidance", input.guidance_scale],
    ["Solver", input.solver],
    ["Seed", output.seed],
    ["Pictures", job.outputs.length > 1 ? job.outputs.length : null],
    ["Reproducible", input.reproducible ? "yes" : null],
  ]);
}

function costsOf({ metrics, created_at, succeeded_at, attempt }: Job): Fact[] {
  const took = (value: number | null): string | null => (value === null ? null : seconds(value));
  return said([
    ["Asked for", moment(created_at)],
    ["Done", succeeded_at ? moment(succeeded_at) : null],
    ["Waited", took(metrics.queued_s)],
    ["Loading", metrics.load_s ? seconds(metrics.load_s) : null],
    ["Denoising", took(metrics.denoise_s)],
    ["Decoding", took(metrics.decode_s)],
    ["Storing", took(metrics.upload_s)],
    ["Device", took(metrics.device_s)],
    ["Cost", metrics.cost_usd ? dollars(metrics.cost_usd) : null],
    ["Attempts", attempt > 1 ? attempt : null],
  ]);
}

function fileOf(job: Job, output: Artifact): Fact[] {
  return said([
    ["Size", output.width ? `${output.width} × ${output.height}, ${bytes(output.size)}` : bytes(output.size)],
    ["Kind", output.content_type.replace(/^[a-z]+\//, "").toUpperCase()],
    ["Frames", output.frames && output.fps ? `${output.frames} at ${output.fps} a second` : null],
    ["Worker", job.worker],
    ["Job", <code key="job">{job.id}</code>],
  ]);
}

const said = (facts: Fact[]): Fact[] =>
  facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
