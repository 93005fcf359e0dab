import { useQuery } from "@tanstack/react-query";
import { KeyRound, LogIn } from "lucide-react";
import { type ReactNode, useEffect, useState } from "react";
import { useForm } from "react-hook-form";

import { Button } from "@/components/Button";
import { Field } from "@/components/Field";
import { Input } from "@/components/inputs";
import { Fault, Waiting } from "@/components/Notice";
import { GATEWAY, refusalOf } from "@/lib/api/client";
import { ApiError } from "@/lib/api/errors";
import { REFUSED, useSession } from "@/lib/session";

import styles from "./SignIn.module.css";
import { type Me, loginFrom, refusedFor, signOut, startOver, waysIn } from "./ways";

interface Said {
  key: string;
  isKept: boolean;
}

const OPENS_NOTHING = "That key opens nothing here. Is it whole? It may also have expired, or been revoked.";
const FOR_WORKERS = "That is a worker’s key: it makes no pictures. Ask for a user’s or an operator’s.";

/** The ways in: the issuer's where there is one, an API key, and back to being a guest. */
export function SignIn() {
  const { key: refused, forget } = useSession();
  const ways = useQuery({ queryKey: ["ways"], queryFn: waysIn, staleTime: 0, retry: false }).data;
  const why = useRefusal();
  if (!ways) return <Waiting label="Asking how one signs in" height="100dvh" />;
  const { issuer, withoutKey } = ways;
  return (
    <Card>
      {refused ? (
        <p role="status">The key that was kept here opens nothing any more: it has expired, or was revoked.</p>
      ) : (
        <p>
          {issuer
            ? "Sign in to make pictures and to see yours."
            : "This Darkroom asks for an API key. Whoever runs it can make you one."}
        </p>
      )}
      {why ? (
        <p className={styles.why} role="alert">
          {why}
        </p>
      ) : null}
      {issuer ? (
        <>
          <a href={loginFrom(window.location)} className={styles.login} onClick={forget}>
            <LogIn aria-hidden /> <span>Sign in with {issuer}</span>
          </a>
          <p className={styles.or}>or with an API key</p>
        </>
      ) : null}
      <KeyForm isMain={!issuer} />
      {withoutKey ? (
        <Button look="ghost" onClick={() => void signOut(undefined)}>
          Go on {withoutKey.is_guest ? "as a guest" : `as ${withoutKey.email ?? withoutKey.tenant}`}
        </Button>
      ) : null}
    </Card>
  );
}

function Card({ children }: { children: ReactNode }) {
  return (
    <main className={styles.page}>
      <section className={styles.card} aria-labelledby="sign-in">
        <KeyRound aria-hidden className={styles.icon} />
        <h1 id="sign-in">Sign in</h1>
        {children}
      </section>
    </main>
  );
}

/** Why the sign-in that ended here was refused; a page that is loaded again does not say it again. */
function useRefusal(): string {
  const [why] = useState(() => refusedFor(new URLSearchParams(window.location.search).get(REFUSED)));
  useEffect(() => {
    const here = new URL(window.location.href);
    here.searchParams.delete(REFUSED);
    window.history.replaceState(window.history.state, "", here);
  }, []);
  return why;
}

/** Asks for an API key, which is tried before it is taken. */
function KeyForm({ isMain }: { isMain: boolean }) {
  const { register, handleSubmit, formState, setError } = useForm<Said>({ defaultValues: { key: "", isKept: false } });
  const [refusal, setRefusal] = useState<unknown>(null);
  const enter = useSession((session) => session.enter);

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
    <form className={styles.form} onSubmit={trying} noValidate>
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
      <Button type="submit" look={isMain ? "main" : "plain"} size="large" disabled={formState.isSubmitting}>
        {isMain ? "Sign in" : "Sign in with the key"}
      </Button>
    </form>
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
