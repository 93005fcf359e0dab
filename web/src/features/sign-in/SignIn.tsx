import { useQuery } from "@tanstack/react-query";
import { KeyRound, LogIn } from "lucide-react";
import { useState } from "react";
import { useForm } from "react-hook-form";

import { Button } from "@/components/Button";
import { Field } from "@/components/Field";
import { Input } from "@/components/inputs";
import { Fault } from "@/components/Notice";
import { GATEWAY, refusalOf } from "@/lib/api/client";
import { ApiError } from "@/lib/api/errors";
import { useSession } from "@/lib/session";

import styles from "./SignIn.module.css";
import { type Me, type Ways, signOut, startOver, waysIn } from "./ways";

interface Said {
  key: string;
  isKept: boolean;
}

const OPENS_NOTHING = "That key opens nothing here. Is it whole? It may also have expired, or been revoked.";
const FOR_WORKERS = "That is a worker’s key: it makes no pictures. Ask for a user’s or an operator’s.";

/** Asks for an API key, which is tried before it is taken; or leads to the issuer, or back to being a guest. */
export function SignIn() {
  const { register, handleSubmit, formState, setError } = useForm<Said>({ defaultValues: { key: "", isKept: false } });
  const [refusal, setRefusal] = useState<unknown>(null);
  const { key: refused, enter } = useSession();
  const ways = useQuery({ queryKey: ["ways"], queryFn: waysIn, staleTime: 0, retry: false }).data;

  const trying = handleSubmit(async ({ key, isKept }) => {
    setRefusal(null);
    try {
      const me = await tried(key.trim());
      if (me.roles.includes("user") || me.roles.includes("operator")) {
        enter(key.trim(), isKept);
        startOver();
      } else setError("key", { message: FOR_WORKERS }, { shouldFocus: true });
    } catch (error) {
      if (error instanceof ApiError && error.code === "unauthorised")
        setError("key", { message: OPENS_NOTHING }, { shouldFocus: true });
      else setRefusal(error);
    }
  });

  return (
    <main className={styles.page}>
      <form className={styles.card} onSubmit={trying} noValidate>
        <KeyRound aria-hidden className={styles.icon} />
        <h1>Sign in</h1>
        {refused ? (
          <p role="status">The key that was kept here opens nothing any more: it has expired, or was revoked.</p>
        ) : (
          <p>This Darkroom asks for an API key. Whoever runs it can make you one.</p>
        )}
        <Field label="API key" error={formState.errors.key?.message}>
          {({ id, describedBy }) => (
            <Input
              id={id}
              type="password"
              autoComplete="current-password"
              placeholder="dk_…"
              aria-describedby={describedBy}
              aria-invalid={Boolean(formState.errors.key)}
              {...register("key", { required: "Enter your key; it begins with dk_." })}
            />
          )}
        </Field>
        <label className={styles.keep}>
          <input type="checkbox" {...register("isKept")} /> Keep me signed in on this device
        </label>
        {refusal ? <Fault error={refusal} /> : null}
        <Button type="submit" look="main" size="large" disabled={formState.isSubmitting}>
          Sign in
        </Button>
        {ways ? <Others ways={ways} /> : null}
      </form>
    </main>
  );
}

/** Who the key makes one; raises `ApiError`. */
async function tried(key: string): Promise<Me> {
  const headers = { Authorization: `Bearer ${key}` };
  const response = await fetch(`${GATEWAY}/auth/me`, { headers }).catch(() => {
    throw new ApiError({ code: "offline", message: "the gateway does not answer" }, 0);
  });
  if (!response.ok) throw await refusalOf(response);
  return (await response.json()) as Me;
}

function Others({ ways: { login, withoutKey } }: { ways: Ways }) {
  if (!login && !withoutKey) return null;
  return (
    <div className={styles.others}>
      {login ? (
        <a href={login} className={styles.login}>
          <LogIn aria-hidden /> Sign in with your organisation
        </a>
      ) : null}
      {withoutKey ? (
        <Button look="ghost" onClick={() => void signOut(undefined)}>
          Go on {withoutKey.is_guest ? "as a guest" : `as ${withoutKey.email ?? withoutKey.tenant}`}
        </Button>
      ) : null}
    </div>
  );
}
