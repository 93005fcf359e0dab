import { History, Lightbulb } from "lucide-react";
import { type KeyboardEvent, type Ref, useState } from "react";

import { Button } from "@/components/Button";
import { Field } from "@/components/Field";
import { Menu } from "@/components/Menu";
import { TextArea } from "@/components/inputs";

import { change, forgetPrompts, useDesk } from "./desk";
import { examplesOf } from "./examples";
import { START, walked } from "./history";
import styles from "./PromptBox.module.css";

interface Props {
  model: string;
  most: number;
  box: Ref<HTMLTextAreaElement>;
  onMake: () => void;
}

/** What to draw; up and down walk through what was asked before, Ctrl+Enter makes it. */
export function PromptBox({ model, most, box, onMake }: Props) {
  const prompt = useDesk((desk) => desk.draft.prompt);
  const prompts = useDesk((desk) => desk.prompts);
  const fault = useDesk((desk) => desk.faults.prompt);
  const [walk, setWalk] = useState(START);
  const press = (event: KeyboardEvent<HTMLTextAreaElement>): void => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      onMake();
      return;
    }
    const by = stepOf(event);
    const next = by === null ? null : walked(prompts, walk, prompt, by);
    if (!next) return;
    event.preventDefault();
    setWalk(next.walk);
    change({ prompt: next.prompt });
  };
  return (
    <div className={styles.box}>
      <Field label="Prompt" error={fault} aside={<Earlier />}>
        {({ id, describedBy }) => (
          <div className={styles.grow} data-text={`${prompt} `}>
            <TextArea
              id={id}
              ref={box}
              rows={3}
              value={prompt}
              maxLength={most}
              placeholder="What shall it show?"
              aria-describedby={describedBy}
              aria-invalid={Boolean(fault)}
              onKeyDown={press}
              onChange={(event) => {
                setWalk(START);
                change({ prompt: event.target.value });
              }}
            />
          </div>
        )}
      </Field>
      <Examples model={model} />
    </div>
  );
}

/** Back at the very beginning of the text, forth at its very end; anywhere else the arrows move the caret. */
function stepOf({ key, currentTarget, shiftKey }: KeyboardEvent<HTMLTextAreaElement>): 1 | -1 | null {
  const { selectionStart, selectionEnd, value } = currentTarget;
  if (shiftKey || selectionStart !== selectionEnd) return null;
  if (key === "ArrowUp" && (selectionStart === 0 || !value.slice(0, selectionStart).includes("\n"))) return 1;
  if (key === "ArrowDown" && !value.slice(selectionStart).includes("\n")) return -1;
  return null;
}

function Earlier() {
  const prompts = useDesk((desk) => desk.prompts);
  return (
    <Menu
      trigger={
        <Button look="ghost" size="small" icon={<History />} disabled={prompts.length === 0}>
          Earlier
        </Button>
      }
      groups={[
        prompts.map((prompt) => ({ label: prompt, onSelect: () => change({ prompt }) })),
        prompts.length ? [{ label: "Forget these", onSelect: forgetPrompts }] : [],
      ]}
    />
  );
}

function Examples({ model }: { model: string }) {
  const examples = examplesOf(model);
  if (examples.length === 0) return null;
  return (
    <div className={styles.examples}>
      <Lightbulb aria-hidden />
      <ul aria-label="Examples">
        {examples.map((example) => (
          <li key={example}>
            <button type="button" className={styles.chip} onClick={() => change({ prompt: example })}>
              {example}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
