"""Where the API server of Kubernetes is and who asks it: the pod's service account, else a kubeconfig's context.

Follows https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/ and
https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/. Of a kubeconfig's current context it takes a token, a
token's file, a client certificate, or none of these (`kubectl proxy`); programs that log in (`exec`) are not run.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...errors import DriverUnavailable

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
KUBECONFIG = Path(".kube/config")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Access:
    """An API server and what it is shown. A token's file is read anew for each request: Kubernetes renews it."""

    url: str
    namespace: str
    tls: ssl.SSLContext | bool = True
    token_file: Path | None = None
    fixed_token: str = ""

    def token(self) -> str:
        """What the header says; "": nothing. Raises `DriverUnavailable` where its file cannot be read."""
        return self.fixed_token if self.token_file is None else _text_of(self.token_file).strip()


def find_access(environment: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> Access:
    """Raises `DriverUnavailable`, which says what is missing or cannot be read."""
    if "KUBERNETES_SERVICE_HOST" in environment and (account / "token").exists():
        return _of_pod(environment, account)
    for path in _kubeconfigs(environment):
        if path.is_file():
            return _of_kubeconfig(path)
    raise DriverUnavailable("no Kubernetes to ask: neither a pod's service account nor a kubeconfig is here")


def _of_pod(environment: Mapping[str, str], account: Path) -> Access:
    host = environment["KUBERNETES_SERVICE_HOST"]
    port = environment.get("KUBERNETES_SERVICE_PORT_HTTPS") or environment.get("KUBERNETES_SERVICE_PORT", "443")
    return Access(
        url=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        namespace=_text_of(account / "namespace").strip(),
        tls=_trusting(_text_of(account / "ca.crt"), account / "ca.crt"),
        token_file=account / "token",
    )


def _kubeconfigs(environment: Mapping[str, str]) -> Iterator[Path]:
    """KUBECONFIG may name several; the first that is there counts."""
    named = [text for text in environment.get("KUBECONFIG", "").split(os.pathsep) if text]
    yield from map(Path, named)
    if not named:
        yield Path(environment.get("HOME", "~")).expanduser() / KUBECONFIG


def _of_kubeconfig(path: Path) -> Access:
    said = _read(path)
    current = said.get("current-context")
    if not current:
        raise DriverUnavailable(f"{path} has no current context: kubectl config use-context NAME sets it")
    context = _named(said, "contexts", "context", str(current), path)
    cluster = _named(said, "clusters", "cluster", str(context.get("cluster")), path)
    user = _named(said, "users", "user", str(context["user"]), path) if context.get("user") else {}
    url = str(cluster.get("server", ""))
    _check(path, url, user)
    token_file = user.get("tokenFile")
    return Access(
        url=url.rstrip("/"),
        namespace=str(context.get("namespace") or "default"),
        tls=_tls(path, cluster, user) if url.startswith("https://") else True,
        token_file=path.parent / token_file if token_file else None,
        fixed_token=str(user.get("token", "")),
    )


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        said = yaml.safe_load(_text_of(path))
    except yaml.YAMLError as error:
        raise DriverUnavailable(f"{path} is not valid YAML") from error
    if not isinstance(said, dict):
        raise DriverUnavailable(f"{path} is no kubeconfig")
    return said


def _named(said: Mapping[str, Any], several: str, one: str, name: str, path: Path) -> dict[str, Any]:
    for entry in said.get(several) or ():
        if entry.get("name") == name:
            return dict(entry.get(one) or {})
    raise DriverUnavailable(f"{path} has no {one} {name!r}")


def _check(path: Path, url: str, user: Mapping[str, Any]) -> None:
    place = urlsplit(url)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise DriverUnavailable(f"{path}: the cluster's server is no http or https address")
    if place.scheme == "http" and place.hostname not in LOOPBACK:
        raise DriverUnavailable(f"{path}: the cluster's server must be https; plain http is for loopback alone")
    for program in ("exec", "auth-provider"):
        if program in user:
            raise DriverUnavailable(
                f"{path}: its user logs in by a program ({program}), which Darkroom does not run; use a service "
                "account's token (kubectl create token NAME), kubectl proxy, or run in the cluster"
            )
    if "username" in user:
        raise DriverUnavailable(f"{path}: its user has a password; use a token or a client certificate")


def _tls(path: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    authority = _pem(path, cluster, "certificate-authority")
    context = _trusting(authority, path) if authority else ssl.create_default_context()
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    certificate, key = _pem(path, user, "client-certificate"), _pem(path, user, "client-key")
    if certificate and key:
        _show(context, certificate + "\n" + key, path)
    return context


def _pem(path: Path, said: Mapping[str, Any], name: str) -> str:
    """Inline (`NAME-data`, base64) or a file beside the kubeconfig; "": neither."""
    try:
        if inline := said.get(f"{name}-data"):
            return base64.b64decode(str(inline), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise DriverUnavailable(f"{path}: {name}-data is not base64 of a PEM file") from error
    return _text_of(path.parent / str(said[name])) if said.get(name) else ""


def _trusting(authority: str, path: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=authority)
    except ssl.SSLError as error:
        raise DriverUnavailable(f"{path}: the certificate authority is not valid PEM") from error


def _show(context: ssl.SSLContext, pem: str, path: Path) -> None:
    """Load a certificate and its key. Python reads them from files alone: one of ours, gone at once."""
    handle, name = tempfile.mkstemp(prefix="darkroom-")  # readable by this user alone
    try:
        with os.fdopen(handle, "w") as file:
            file.write(pem)
        context.load_cert_chain(name)
    except ssl.SSLError as error:
        raise DriverUnavailable(f"{path}: the client certificate or its key is not valid") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DriverUnavailable(f"{path} cannot be read: {error}") from error
