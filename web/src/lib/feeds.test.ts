import { expect, it } from "vitest";

import { eventsIn } from "./feeds";

const event = (seq: number): string =>
  `id: ${seq}\nevent: progress\ndata: {"seq":${seq},"type":"progress","job_id":"job-1"}\n\n`;

it("events that come in pieces are heard once each and in order", () => {
  const text = `: welcome\n\n${event(1)}: \n\n${event(2)}${event(3)}`;
  for (let cut = 0; cut <= text.length; cut += 1) {
    const [first, rest] = eventsIn(text.slice(0, cut));
    const [second, left] = eventsIn(rest + text.slice(cut));
    expect([...first, ...second].map(({ seq }) => seq)).toEqual([1, 2, 3]);
    expect(left).toBe("");
  }
});
