"""The rules that involve more than one setting; each applies if those settings are valid."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.client.channel import fit
from sidecar.config import models
from sidecar.config.certificates import check_pair
from sidecar.config.schema import Settings

TLS = ("tls_ca_file", "tls_cert_file", "tls_key_file", "tls_server_name")

# The name of a setting that violates a rule, and the error.
Broken = Iterator[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for settings, some of which may be bad.

    settings:  with the default instead of each bad value.
    bad:       the names of the bad settings.
    given:     the given value of each setting, good or bad.
    """

    settings: Settings
    bad: Collection[str]
    given: Mapping[str, Any]

    def broken(self) -> Broken:
        """Return all violations."""
        yield from self._timeout()
        yield from self._max_age()
        yield from self._policy()
        yield from self._canary()
        yield from self._ports()
        yield from self._pod()
        yield from self._plaintext()
        yield from self._pair()
        yield from self._token()

    def _least(self, name: str) -> float:
        """Return the value of a number of 0 or more; 0 if it is bad."""
        return 0 if name in self.bad else getattr(self.settings, name)

    def _is_given(self, name: str) -> bool:
        return self.given.get(name) is not None

    def _timeout(self) -> Broken:
        timeout, period = self.settings.timeout_seconds, self.settings.period_seconds
        if not {"timeout_seconds", "period_seconds"} & {*self.bad} and timeout >= period:
            yield "timeout_seconds", f"not shorter than period_seconds, {period:g}"

    def _max_age(self) -> Broken:
        age = self.settings.max_age_seconds
        period, jitter = self._least("period_seconds"), self._least("jitter")
        least = period * (1 + jitter / 2) + self._least("timeout_seconds")
        if age is not None and age < least:
            reason = f"shorter than a period with its jitter and the timeout, {least:g}"
            yield "max_age_seconds", f"{reason}: good answers would grow old between two rounds"

    def _ports(self) -> Broken:
        port = self.settings.http_port
        if "http_port" not in self.bad and self.settings.grpc_port == port:
            yield "grpc_port", f"the same as http_port, {port}"

    def _pod(self) -> Broken:
        if self.settings.kubernetes_events:
            for name, field in (("pod_name", "metadata.name"), ("pod_uid", "metadata.uid")):
                if not self._is_given(name):
                    reason = "not given, but kubernetes_events is true; set it by the downward API"
                    yield name, f"{reason}, fieldPath {field}"

    def _policy(self) -> Broken:
        text = self.settings.readiness_policy
        required = sum(model.required for model in self.settings.models)
        if "models" in self.bad:
            try:
                required = models.required(self.given["models"])
            except ValueError:
                return
        if text.isdigit() and int(text) > required:
            yield "readiness_policy", f"only {required} required models are configured"

    def _canary(self) -> Broken:
        rules = self.settings.canary_rules
        if rules.failure_threshold > rules.window:
            yield "canary_failure_threshold", f"more than canary_window, {rules.window}"
        least = rules.failure_threshold * (rules.period + rules.timeout)
        if 0 < rules.restart_after < least:
            reason = f"shorter than canary_failure_threshold x (period + timeout), {least:g}"
            yield "canary_restart_after_seconds", reason

    def _plaintext(self) -> Broken:
        url = self.given.get("server_url", "")
        if isinstance(url, str) and url.startswith("http://"):
            for name in filter(self._is_given, TLS):
                yield name, f"url {fit(url)}: http:// is plaintext, but TLS was asked for"

    def _pair(self) -> Broken:
        cert, key = self.settings.tls_cert_file, self.settings.tls_key_file
        cert_is_given, key_is_given = map(self._is_given, ("tls_cert_file", "tls_key_file"))
        if cert_is_given and not key_is_given:
            yield "tls_key_file", "not given, but tls_cert_file is; give both or neither"
        elif key_is_given and not cert_is_given:
            yield "tls_key_file", "tls_cert_file is not given; give both or neither"
        elif cert is not None and key is not None:
            try:
                check_pair(cert, key)
            except ValueError as error:
                yield "tls_key_file", str(error)

    def _token(self) -> Broken:
        headers = self.given.get("headers", {})
        if isinstance(headers, str):
            headers = [part.partition("=")[0].strip() for part in headers.split(",")]
        if (
            self._is_given("bearer_token_file")
            and isinstance(headers, list | dict)
            and "authorization" in headers
        ):
            yield "bearer_token_file", "headers holds an authorization already"
