/** What the gateway refuses, and what a person can do about it. */

export interface ErrorBody {
  code: string;
  message: string;
  field?: string | null;
  request_id?: string;
}

/** An answer that is no success; `code` is the gateway's, or `offline` where it did not answer at all. */
export class ApiError extends Error {
  readonly code: string;
  readonly field: string | null;
  readonly requestId: string;
  readonly status: number;
  readonly retryAfterS: number | null;

  constructor(body: ErrorBody, status: number, retryAfterS: number | null = null) {
    super(body.message);
    this.name = "ApiError";
    this.code = body.code;
    this.field = body.field ?? null;
    this.requestId = body.request_id ?? "";
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/** One sentence a code, in words that need no manual; the gateway's own message stands beneath it. */
export const SENTENCES: Record<string, string> = {
  offline: "Darkroom does not answer. Is it running, and are you connected?",
  bad_input: "Something in the request is not as the model needs it.",
  unknown_argument: "The model does not know one of these settings.",
  unknown_model: "That model is not served here.",
  unknown_solver: "The model cannot use that solver.",
  unknown_preset: "The model has no such preset.",
  unknown_adapter: "That adapter is not here, or not for this model.",
  size_not_offered: "The model does not make pictures of that size.",
  unreadable_image: "That file could not be read as a picture.",
  mask_size: "The mask must be as large as the picture.",
  output_not_writable: "The picture could not be written.",
  invalid_config: "The server's settings are wrong; its operator must look.",
  model_not_servable: "The model cannot be served as it is.",
  missing_weights: "Files of the model are missing on the server.",
  corrupt_weights: "Files of the model are damaged on the server.",
  corrupt_tape: "What was kept of the interrupted work is damaged; it starts over.",
  unsafe_weights: "The model's files could run code, and nobody has allowed it.",
  content_refused: "The safety rules refused this.",
  not_supported: "This cannot be done with that model.",
  unauthorised: "Sign in with a key that is valid.",
  forbidden: "Your key does not allow this.",
  not_found: "It is not here, or no longer.",
  method_not_allowed: "That cannot be done with this address.",
  conflict: "It has changed in the meantime.",
  idempotency_conflict: "The same request was sent with other contents.",
  job_not_final: "It has not ended yet.",
  lease_lost: "Another worker has taken it over.",
  tape_refused: "What was kept of it belongs to another model; it starts over.",
  too_large: "That is larger than the server takes.",
  too_busy: "The server is busy. Try again in a moment.",
  queue_full: "The queue is full. Try again in a moment.",
  limit_exceeded: "You have used what your key allows for now.",
  unavailable: "That is not available just now. Try again in a moment.",
  store_unavailable: "The job store cannot be reached. Nothing is lost; try again in a moment.",
  driver_unavailable: "What starts workers does not answer just now. Those that run go on; try again in a moment.",
  storage_unavailable: "Pictures cannot be read or written just now. Nothing is lost; try again in a moment.",
  out_of_memory: "It does not fit into the device's memory. Try a smaller size or fewer images.",
  store_corrupt: "The job database is damaged; the operator must look.",
  worker_died: "The process that worked on it ended.",
  cancelled: "It was cancelled.",
  deadline_exceeded: "It was not done by its deadline.",
  engine_closed: "The worker was shutting down.",
  pipeline_failed: "The pipeline's own code failed; whoever wrote it must look.",
  not_finite: "The model's numbers left their range. Try less guidance, another solver, or full precision.",
  internal: "That is a fault of ours, and it has been logged.",
  engine_broken: "The worker's engine stopped, and will be restarted.",
};

/** The sentence for an error, whatever was thrown. */
export function sentenceOf(error: unknown): string {
  const code = codeOf(error);
  return (code && SENTENCES[code]) ?? "Something went wrong.";
}

/** The gateway's own words, which say field and bounds; empty where there are none. */
export function detailOf(error: unknown): string {
  if (error instanceof ApiError) return error.code === "offline" ? "" : error.message;
  return isBody(error) ? error.message : error instanceof Error ? error.message : "";
}

function codeOf(error: unknown): string | null {
  if (error instanceof ApiError) return error.code;
  return isBody(error) ? error.code : null;
}

function isBody(error: unknown): error is ErrorBody {
  return typeof error === "object" && error !== null && "code" in error && "message" in error;
}

/** Whether trying again later may help. */
export function isPassing(error: unknown): boolean {
  return error instanceof ApiError && (error.code === "offline" || error.status === 503 || error.status === 429);
}
