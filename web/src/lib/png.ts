/**
 * What a PNG says of itself in its text chunks (PNG 3rd edition, 11.3.3: tEXt and iTXt).
 *
 * Darkroom writes the settings that made a picture as JSON under the keyword `darkroom`.
 */

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const KEYWORD = "darkroom";

/** What made a picture: the model, and a job's input without its pictures. */
export interface MadeWith {
  model: string;
  task: string;
  input: Record<string, unknown>;
  /** It was made from another picture, with a mask, or with a control image; those are not in the file. */
  isFromPicture: boolean;
  isMasked: boolean;
  isControlled: boolean;
  /** A picture prompted it. */
  isPrompted: boolean;
}

/** Text by keyword; empty for what is no PNG or is cut short. Compressed text is left out. */
export function textsOf(bytes: Uint8Array): Map<string, string> {
  const texts = new Map<string, string>();
  if (!SIGNATURE.every((byte, at) => bytes[at] === byte)) return texts;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = SIGNATURE.length;
  while (at + 12 <= bytes.length) {
    const length = view.getUint32(at);
    const type = latin(bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    const entry =
      data.length < length ? null : type === "tEXt" ? plain(data) : type === "iTXt" ? international(data) : null;
    if (entry) texts.set(entry[0], entry[1]);
    if (type === "IEND") break;
    at += 12 + length;
  }
  return texts;
}

/** The settings that Darkroom put into a PNG; null where there are none. */
export function madeWith(bytes: Uint8Array): MadeWith | null {
  const text = textsOf(bytes).get(KEYWORD);
  if (text === undefined) return null;
  try {
    const said: unknown = JSON.parse(text);
    if (!isRecord(said) || !isRecord(said.input)) return null;
    return {
      model: textOf(said.model),
      task: textOf(said.task),
      input: said.input,
      isFromPicture: "image_sha256" in said,
      isMasked: "mask_sha256" in said,
      isControlled: "control_sha256" in said,
      isPrompted: "ip_adapter_sha256" in said,
    };
  } catch {
    return null;
  }
}

function plain(data: Uint8Array): [string, string] | null {
  const end = data.indexOf(0);
  return end < 0 ? null : [latin(data.subarray(0, end)), latin(data.subarray(end + 1))];
}

function international(data: Uint8Array): [string, string] | null {
  const end = data.indexOf(0);
  const isCompressed = data[end + 1] !== 0;
  const language = data.indexOf(0, end + 3);
  const translated = language < 0 ? -1 : data.indexOf(0, language + 1);
  if (end < 0 || isCompressed || translated < 0) return null;
  return [latin(data.subarray(0, end)), new TextDecoder().decode(data.subarray(translated + 1))];
}

/** Bytes as ISO 8859-1; browsers' decoder of that name is windows-1252, which differs. */
function latin(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
