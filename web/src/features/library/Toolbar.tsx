import { CircleCheck, ListFilter, Search, X } from "lucide-react";
import { type KeyboardEvent, useRef, useState } from "react";

import { Button } from "@/components/Button";
import { Input, Select } from "@/components/inputs";
import { useShortcuts } from "@/lib/shortcuts";

import { Filters } from "./Filters";
import { type Choices, type Filter, countChosen } from "./filter";
import { startSelecting } from "./selected";
import styles from "./Toolbar.module.css";

interface Props {
  filter: Filter;
  choices: Choices;
  onChange: (change: Partial<Filter>) => void;
}

/** Search, order and the folded filters; stays in sight while one scrolls. */
export function Toolbar({ filter, choices, onChange }: Props) {
  const chosen = countChosen(filter);
  const [isOpen, setIsOpen] = useState(chosen > 0);
  const box = useRef<HTMLInputElement>(null);
  useShortcuts({ "/": () => box.current?.focus() });
  const press = (event: KeyboardEvent): void => {
    if (event.key === "Escape") {
      if (filter.words) onChange({ words: "" });
      else box.current?.blur();
    } else if (event.key === "ArrowDown" || event.key === "Enter") {
      event.preventDefault();
      document.querySelector<HTMLElement>("[role=gridcell][tabindex='0']")?.focus();
    }
  };
  return (
    <div className={styles.bar} data-bar>
      <div className={styles.row} role="search">
        <div className={styles.search}>
          <Search aria-hidden />
          <Input
            ref={box}
            type="search"
            aria-label="Search prompts, models, adapters, seeds and ids"
            placeholder="Search prompts, models, adapters, seeds"
            value={filter.words}
            onChange={(event) => onChange({ words: event.target.value })}
            onKeyDown={press}
          />
          {filter.words ? (
            <Button
              look="ghost"
              size="small"
              aria-label="Clear the search"
              icon={<X />}
              onClick={() => {
                onChange({ words: "" });
                box.current?.focus();
              }}
            />
          ) : null}
        </div>
        <Button
          look={chosen > 0 ? "plain" : "ghost"}
          icon={<ListFilter />}
          aria-expanded={isOpen}
          aria-controls="filters"
          onClick={() => setIsOpen(!isOpen)}
        >
          Filters{chosen > 0 ? <span className={styles.chosen}>{chosen}</span> : null}
        </Button>
        <Button look="ghost" icon={<CircleCheck />} onClick={startSelecting}>
          Select
        </Button>
        <div className={styles.order}>
          <Select
            aria-label="Order"
            value={filter.order}
            onChange={(event) => onChange({ order: event.target.value === "oldest" ? "oldest" : "newest" })}
          >
            <option value="newest">Newest</option>
            <option value="oldest">Oldest</option>
          </Select>
        </div>
      </div>
      <div id="filters" hidden={!isOpen}>
        {isOpen ? <Filters filter={filter} choices={choices} onChange={onChange} /> : null}
      </div>
    </div>
  );
}
