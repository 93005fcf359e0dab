import { useQuery } from "@tanstack/react-query";
import { CircleUser, LogIn, LogOut } from "lucide-react";
import { Popover } from "radix-ui";

import { Button } from "@/components/Button";
import { Fault, Waiting } from "@/components/Notice";
import { useMe } from "@/lib/api/queries";
import { useSession } from "@/lib/session";

import styles from "./Account.module.css";
import { nameOf, renewalOf, roleOf, usedOf } from "./account";
import { type Me, signOut, usageNow } from "./ways";

/** Who is signed in, what they may use and have used, and the way out; nothing where nobody is asked for a key. */
export function Account() {
  const me = useMe().data;
  const key = useSession((session) => session.key);
  if (!me || !(key || me.email || me.is_guest)) return null;
  return (
    <Popover.Root>
      <Popover.Trigger asChild>
        <Button look="ghost" aria-label={`${nameOf(me)}: your account`} icon={<CircleUser />} />
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          className={styles.card}
          align="end"
          sideOffset={6}
          collisionPadding={8}
          aria-label="Your account"
        >
          <Inside me={me} />
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}

function Inside({ me }: { me: Me }) {
  const refuse = useSession((session) => session.refuse);
  return (
    <>
      <div>
        <strong className={styles.name}>{nameOf(me)}</strong>
        <p className={styles.soft}>{roleOf(me)}</p>
      </div>
      <Use />
      {me.is_guest ? (
        <>
          <p className={styles.soft}>Guests of one address share what they may use. With a key you have your own.</p>
          <Button look="main" icon={<LogIn />} onClick={refuse}>
            Sign in
          </Button>
        </>
      ) : (
        <Button icon={<LogOut />} onClick={() => void signOut(me)}>
          Sign out
        </Button>
      )}
    </>
  );
}

function Use() {
  const usage = useQuery({ queryKey: ["usage"], queryFn: usageNow, staleTime: 0 });
  if (usage.isError) return <Fault error={usage.error} />;
  if (!usage.data) return <Waiting label="Loading what you have used" height="3rem" />;
  const used = usedOf(usage.data);
  const renewal = renewalOf(usage.data);
  return (
    <div className={styles.use}>
      {used.length === 0 ? <p className={styles.soft}>No limits, and nothing used today.</p> : null}
      <dl>
        {used.map(({ name, said, share }) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd className="numbers">{said}</dd>
            {share === null ? null : (
              <dd>
                <progress aria-label={name} value={share} data-full={share >= 1 || undefined} />
              </dd>
            )}
          </div>
        ))}
      </dl>
      {renewal ? <p className={styles.soft}>{renewal}</p> : null}
    </div>
  );
}
