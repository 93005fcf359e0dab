/** The gateway's native API, typed from its OpenAPI; every refusal is thrown as an `ApiError`. */

import createClient, { type Middleware } from "openapi-fetch";

import { ApiError, type ErrorBody } from "./errors";
import type { components, paths } from "./schema";
import { useSession } from "../session";

export type Schemas = components["schemas"];
export type Job = Schemas["JobAnswer"];
export type JobState = Job["state"];
export type Artifact = Schemas["ArtifactAnswer"];
export type Model = Schemas["ModelAnswer"];
export type OneModel = Schemas["OneModelAnswer"];
export type Worker = Schemas["WorkerAnswer"];
export type Adapter = Schemas["AdapterAnswer"];

export const FINAL_STATES: ReadonlySet<JobState> = new Set(["succeeded", "failed", "cancelled"]);

/** Where the gateway is: this page's own origin, unless the site was built for another (`VITE_GATEWAY_URL`). */
export const GATEWAY: string = (import.meta.env.VITE_GATEWAY_URL as string | undefined) ?? window.location.origin;

/** A session's cookie is for our own origin alone; a site elsewhere shows its key. */
const CREDENTIALS: RequestCredentials = GATEWAY === window.location.origin ? "same-origin" : "omit";

const manners: Middleware = {
  onRequest({ request }) {
    const key = useSession.getState().key;
    if (key) request.headers.set("Authorization", `Bearer ${key}`);
    return request;
  },
  async onResponse({ response }) {
    if (!response.ok) throw await refusalOf(response);
  },
  onError({ error }) {
    if (error instanceof DOMException && error.name === "AbortError") return error;
    return new ApiError({ code: "offline", message: "the gateway does not answer" }, 0);
  },
};

export const api = createClient<paths>({ baseUrl: GATEWAY, credentials: CREDENTIALS });
api.use(manners);

/** The error that an answer tells of; proxies between us and the gateway answer in shapes of their own. */
export async function refusalOf(response: Response): Promise<ApiError> {
  const after = Number(response.headers.get("Retry-After"));
  const retryAfterS = Number.isFinite(after) && after > 0 ? after : null;
  const body = (await response.json().catch(() => null)) as { error?: ErrorBody } | null;
  const said = body?.error ?? {
    code: response.status >= 500 ? "unavailable" : "bad_input",
    message: response.statusText,
  };
  if (said.code === "unauthorised") useSession.getState().refuse();
  return new ApiError(said, response.status, retryAfterS);
}

/** The data of an answer that succeeded. */
export async function dataOf<T>(answer: Promise<{ data?: T; error?: unknown }>): Promise<T> {
  const { data } = await answer;
  if (data === undefined) throw new ApiError({ code: "internal", message: "an answer without contents" }, 200);
  return data;
}

/** Bytes of a picture; its signed URL needs no key. */
export async function bytesOf(artifact: Pick<Artifact, "url">): Promise<Blob> {
  // What an <img> of another origin left in the cache has no CORS headers, and could not be read from here.
  const isOurs = new URL(artifact.url, window.location.href).origin === window.location.origin;
  const response = await fetch(artifact.url, { cache: isOurs ? "default" : "reload" }).catch(() => {
    throw new ApiError({ code: "offline", message: "the gateway does not answer" }, 0);
  });
  if (!response.ok) throw await refusalOf(response);
  return response.blob();
}

/** Bytes of an artifact that no signed URL was told of, such as what a job was made from. */
export async function artifactBytes(id: string): Promise<Blob> {
  const params = { path: { artifact_id: id } };
  const { data } = await api.GET("/v1/artifacts/{artifact_id}", { params, parseAs: "blob" });
  if (!(data instanceof Blob)) throw new ApiError({ code: "internal", message: "an answer without contents" }, 200);
  return data;
}

/** Upload a file; returns the artifact id that stands for it in a job's input. */
export async function upload(file: Blob): Promise<Schemas["UploadAnswer"]> {
  const key = useSession.getState().key;
  const headers: Record<string, string> = { "Content-Type": file.type || "application/octet-stream" };
  if (key) headers.Authorization = `Bearer ${key}`;
  const sent = fetch(`${GATEWAY}/v1/uploads`, { method: "POST", body: file, headers, credentials: CREDENTIALS });
  const response = await sent.catch(() => {
    throw new ApiError({ code: "offline", message: "the gateway does not answer" }, 0);
  });
  if (!response.ok) throw await refusalOf(response);
  return (await response.json()) as Schemas["UploadAnswer"];
}
