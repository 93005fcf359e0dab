import { AdapterWeights } from "@/components/AdapterWeights";
import type { Offer } from "@/lib/offer";

import { change, useDesk } from "./desk";
import { adaptersOf, withAdapter } from "./draft";

/** The model's adapters, each with its weight. */
export function Adapters({ offer }: { offer: Offer }) {
  const draft = useDesk((desk) => desk.draft);
  const fault = useDesk((desk) => desk.faults.adapters);
  if (offer.adapters.length === 0) return null;
  const weights = adaptersOf(draft, offer);
  return (
    <AdapterWeights
      weights={Object.entries(weights)}
      others={offer.adapters.filter((name) => !(name in weights))}
      isFull={Object.keys(weights).length >= offer.maxAdapters}
      fault={fault}
      onWeigh={(name, weight) => change((one) => withAdapter(one, offer, name, weight))}
    />
  );
}
