/** A colour for each job, the same as long as it is seen, and unlike those of the jobs around it. */

export const HUES = 18;
/** About the golden angle in steps of a full turn's eighteenth: neighbours in the list lie far apart. */
const STRIDE = 7;

export interface Shade {
  /** 0 to 359, of OKLCH. */
  hue: number;
  /** Every second round of hues is a little lighter. */
  isLight: boolean;
}

/** Gives colours out; a job that was not asked for in a long time gives its own back. */
export class Colours {
  private taken = new Map<string, number>();

  of(job: string): Shade {
    const place = this.taken.get(job) ?? this.free(hash(job));
    this.taken.delete(job);
    this.taken.set(job, place); // behind all others: it is the last to give its colour up
    return { hue: ((place * STRIDE) % HUES) * (360 / HUES), isLight: place >= HUES };
  }

  /** A place that nobody has, else that of the job which was not seen for the longest. */
  private free(start: number): number {
    const used = new Set(this.taken.values());
    const places = HUES * 2;
    for (let step = 0; step < places; step += 1) {
      const place = (start + step) % places;
      if (!used.has(place)) return place;
    }
    const [oldest, place] = [...this.taken][0] ?? ["", 0];
    this.taken.delete(oldest);
    return place;
  }
}

/** FNV-1a. */
function hash(text: string): number {
  let sum = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193) >>> 0;
  return sum;
}

/** As CSS and canvas take it; lightness and chroma are the theme's (`--job-lightness`, `--job-chroma`). */
export function cssOf({ hue, isLight }: Shade, lightness: number, chroma: number, alpha = 1): string {
  const shown = Math.min(0.95, isLight ? lightness + 0.1 : lightness);
  return `oklch(${shown} ${chroma} ${hue} / ${alpha})`;
}
