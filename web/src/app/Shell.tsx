import { Images, LayoutGrid, Moon, Server, Sparkles, Sun, SunMoon, WifiOff } from "lucide-react";
import { Suspense, lazy, useEffect } from "react";
import { NavLink, Outlet, ScrollRestoration, useNavigation, useRouteError } from "react-router";
import { Toaster } from "sonner";

import { Button } from "@/components/Button";
import { Empty, Fault, Waiting } from "@/components/Notice";
import { Tip } from "@/components/Tip";
import { Account } from "@/features/sign-in/Account";
import { OwnFollower, useLive } from "@/lib/live";
import { useSession } from "@/lib/session";
import { type Theme, useTheme } from "@/lib/theme";

import styles from "./Shell.module.css";

/** Most never see it, so it is not part of the first load. */
const SignIn = lazy(async () => ({ default: (await import("@/features/sign-in/SignIn")).SignIn }));

const ROOMS = [
  { to: "/", name: "Create", icon: Sparkles },
  { to: "/compare", name: "Compare", icon: LayoutGrid },
  { to: "/library", name: "Library", icon: Images },
  { to: "/fleet", name: "Fleet", icon: Server },
] as const;

/** Toasts cover neither the small print of an open picture nor the bars of what is chosen. */
const ABOVE_FEET = { wide: { bottom: "5.25rem" }, narrow: { bottom: "9rem" } };

/** What stands around every room: the way to the others, the theme, who is signed in, and whether we are connected. */
export function Shell() {
  const isRefused = useSession((session) => session.isRefused);
  const key = useSession((session) => session.key);
  const isLoading = useNavigation().state === "loading";
  const theme = useTheme((chosen) => chosen.theme);
  useEffect(() => {
    if (isRefused) return undefined;
    const follower = new OwnFollower();
    follower.start();
    return () => follower.stop();
  }, [isRefused, key]);
  if (isRefused)
    return (
      <Suspense fallback={<Waiting height="100dvh" />}>
        <SignIn />
      </Suspense>
    );
  return (
    <div className={styles.shell}>
      <a href="#room" className={styles.skip}>
        Skip to the room
      </a>
      <header className={styles.bar}>
        <NavLink to="/" className={styles.mark ?? ""} aria-label="Darkroom, Create">
          <span aria-hidden className={styles.lamp} />
          <span className={styles.name}>Darkroom</span>
        </NavLink>
        <nav aria-label="Rooms" className={styles.rooms}>
          {ROOMS.map(({ to, name, icon: Icon }) => (
            <NavLink key={to} to={to} end={to === "/"} className={styles.room ?? ""}>
              <Icon aria-hidden />
              <span>{name}</span>
            </NavLink>
          ))}
        </nav>
        <div className={styles.foot}>
          <Connection />
          <ThemeButton />
          <Account />
        </div>
      </header>
      <main id="room" className={styles.main} tabIndex={-1} aria-busy={isLoading}>
        <Outlet />
      </main>
      <ScrollRestoration />
      <Toaster position="bottom-center" theme={theme} offset={ABOVE_FEET.wide} mobileOffset={ABOVE_FEET.narrow} />
    </div>
  );
}

function Connection() {
  const isConnected = useLive((live) => live.isConnected);
  return (
    <span role="status" className={styles.connection} data-away={!isConnected || undefined}>
      {isConnected ? (
        <span className="hidden-visually">Connected</span>
      ) : (
        <Tip text="Not connected: what is under way goes on, and shows again as soon as the server answers.">
          <button type="button" className={styles.away}>
            <WifiOff aria-hidden /> <span>Reconnecting</span>
          </button>
        </Tip>
      )}
    </span>
  );
}

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };
const LAMPS = { system: SunMoon, light: Sun, dark: Moon };

function ThemeButton() {
  const { theme, choose } = useTheme();
  const Lamp = LAMPS[theme];
  return (
    <Tip text={`Theme: ${theme}`}>
      <Button
        look="ghost"
        aria-label={`Theme: ${theme}. Change to ${NEXT[theme]}`}
        icon={<Lamp />}
        onClick={() => choose(NEXT[theme])}
      />
    </Tip>
  );
}

export function NotHere() {
  return <Empty title="There is no such room">The address may be old.</Empty>;
}

/** The last resort: the page says what broke, and how to go on. */
export function Crashed() {
  const error = useRouteError();
  return (
    <main className={styles.crashed}>
      <Empty title="This page broke" action={<Button onClick={() => window.location.reload()}>Load it again</Button>}>
        Your jobs are not affected: they go on, and are here when you are back.
      </Empty>
      <Fault error={error} />
    </main>
  );
}
