"""Every setting and its validation. Other parts get values of the core, not the settings."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from sidecar.client.channel import parse_url
from sidecar.client.metadata import to_metadata
from sidecar.config import types as f
from sidecar.config.certificates import check_authorities, check_certificate, check_key
from sidecar.config.models import without_quotes
from sidecar.core.canary import CanaryRules
from sidecar.core.checks import SERVER_LIVE, SERVER_READY, Check
from sidecar.core.reasons import Thresholds
from sidecar.core.repository import DiscoveryRules
from sidecar.core.schedule import CheckSchedule, Schedule
from sidecar.core.snapshot import Policy
from sidecar.oip import SERVICE

MASK = "***"


class Settings(BaseSettings):
    """The settings, each validated by itself; rules.py validates combinations."""

    model_config = SettingsConfigDict(
        case_sensitive=True,  # otherwise SERVER_URL in the file would be server_url
        extra="forbid",
        frozen=True,
        validate_default=True,
        json_schema_extra={"description": "The settings of the Inference Health Sidecar."},
    )

    server_url: f.Url = Field("localhost:8001", description="where the inference server listens")
    grpc_service: f.Service = Field(SERVICE, description="full name of the service")
    models: f.Models = Field((), description="models to probe")
    period_seconds: f.Seconds = Field(
        5, description="from the start of one round to the start of the next while all checks pass"
    )
    recovery_period_seconds: f.Seconds = Field(
        1, description="the same while anything is not serving"
    )
    live_period_seconds: f.SecondsOrZero = Field(
        1, description="interval at which ServerLive alone is called between two rounds; 0: never"
    )
    timeout_seconds: f.Seconds = Field(2, description="timeout of each call to the server")
    jitter: f.Share = Field(0.1, description="fraction of the period by which rounds are spread")
    concurrency: f.Count = Field(8, description="maximum number of calls in flight")
    liveness_failure_threshold: f.Count = Field(
        3, description="consecutive counted failures after which the server is not live"
    )
    liveness_success_threshold: f.Count = Field(
        1, description="consecutive successes after which it is live"
    )
    readiness_failure_threshold: f.Count = Field(
        3, description="consecutive counted failures after which a check is not ready"
    )
    readiness_success_threshold: f.Count = Field(
        1, description="consecutive successes after which it is ready"
    )
    startup_grace_seconds: f.SecondsOrZero = Field(
        0, description="grace period before /healthz may fail for a server that has never been live"
    )
    max_age_seconds: f.Seconds | None = Field(
        None, description="results older than this are stale; default: 3 periods and the timeout"
    )
    require_server_ready: f.AutoOrBoolean = Field(
        "auto",
        description="whether ServerReady gates /readyz; auto: only if no model is configured"
        " or discovered",
    )
    readiness_policy: f.QuorumText = Field(
        "all", description="how many of the required models must be ready"
    )
    canary: f.CanaryMode = Field(
        "off",
        description="auto: each model must answer an inference that is generated from its metadata",
    )
    canary_dir: f.Directory | None = Field(
        None, description="directory of requests in V2 JSON, NAME.json for the model NAME"
    )
    canary_period_seconds: f.Seconds = Field(
        30, description="from the result of a canary to the next canary while it passes"
    )
    canary_timeout_seconds: f.Seconds = Field(
        30, description="time without a reply and without progress of the model that is a timeout"
    )
    canary_failure_threshold: f.Count = Field(
        2, description="failures among the last canary_window results after which a canary fails"
    )
    canary_window: f.Count = Field(4, description="number of last results that count")
    canary_success_threshold: f.Count = Field(
        3, description="consecutive successes after a failure after which a canary passes"
    )
    canary_warmup_requests: f.Count = Field(
        1, description="consecutive successes after a start after which a canary passes"
    )
    canary_max_reply_bytes: f.Count = Field(
        4 * 1024 * 1024, description="maximum size of a canary's reply"
    )
    canary_restart_after_seconds: f.SecondsOrZero = Field(
        0, description="time that canaries must fail before /healthz fails; 0: never"
    )
    canary_max_restarts_per_hour: f.Count = Field(
        3, description="maximum number of restarts per hour because of canaries"
    )
    progress_metrics_url: f.MetricsUrl | None = Field(
        None,
        description="the server's metrics page, whose counters show the progress of models",
    )
    discover: f.Switch = Field(
        False, description="whether the models in the server's repository are checked too"
    )
    discover_exclude: f.Patterns = Field(
        (), description="patterns of model names that are not discovered; * matches any characters"
    )
    discover_period_seconds: f.Seconds = Field(
        30, description="interval at which the repository is read"
    )
    discover_maximum_models: f.Count = Field(
        1000, description="maximum number of discovered models that are checked"
    )
    minimum_models: f.Count = Field(
        1, description="minimum number of models in the repository, with discover"
    )
    tls_ca_file: f.File | None = Field(
        None, description="PEM file of the trusted certificate authorities"
    )
    tls_cert_file: f.SecretFile | None = Field(
        None, description="PEM file of this client's certificate"
    )
    tls_key_file: f.SecretFile | None = Field(None, description="PEM file of its private key")
    tls_server_name: f.Text | None = Field(
        None, description="name expected in the server's certificate"
    )
    authority: f.Authority | None = Field(
        None,
        description=":authority of each call, and with TLS the name expected in the certificate"
        " unless tls_server_name is set; default: from server_url",
    )
    headers: f.HeaderMap = Field({}, description="metadata sent with each call")
    bearer_token_file: f.SecretFile | None = Field(
        None, description="file whose content is sent as authorization: Bearer"
    )
    reload_interval_seconds: f.Seconds = Field(
        5, description="how often the settings file and the files it names are checked for changes"
    )
    http_host: f.Text | None = Field(
        None,
        description="address to listen on; ::, * and default: all interfaces, both families;"
        " 0.0.0.0: IPv4 only",
    )
    http_port: f.Port = Field(9808, description="port to listen on")
    grpc_port: f.ServicePort | None = Field(
        None, description="port to serve grpc.health.v1 on, in plaintext"
    )
    kubernetes_events: f.Switch = Field(
        False, description="whether transitions are written as Kubernetes Events on this pod"
    )
    pod_name: f.PodName | None = Field(
        None, description="name of this pod (metadata.name), for kubernetes_events"
    )
    pod_uid: f.Uid | None = Field(
        None, description="uid of this pod (metadata.uid), for kubernetes_events"
    )
    drain_seconds: f.SecondsOrZero = Field(
        5, description="how long everything except /readyz keeps working after SIGTERM"
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        f.Lower,
        f.Allowed("debug, info, warning or error"),
    ] = Field("info", description="minimum level that is logged")
    log_format: Annotated[
        Literal["auto", "text", "json"], f.Lower, f.Allowed("auto, text or json")
    ] = Field("auto", description="auto: text on a terminal, otherwise one JSON object per line")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only arguments: load.py reads the sources, and names them in its errors."""
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _has_no_quotes(cls, value: object) -> object:
        return without_quotes(value)

    @field_validator("server_url")
    @classmethod
    def _is_target(cls, url: str) -> str:
        parse_url(url)
        return url

    @field_validator("tls_ca_file")
    @classmethod
    def _is_authority(cls, path: Path | None) -> Path | None:
        if path is not None:
            check_authorities(path)
        return path

    @field_validator("tls_cert_file")
    @classmethod
    def _is_certificate(cls, path: Path | None) -> Path | None:
        if path is not None:
            check_certificate(path)
        return path

    @field_validator("tls_key_file")
    @classmethod
    def _is_key(cls, path: Path | None) -> Path | None:
        if path is not None:
            check_key(path)
        return path

    @field_validator("bearer_token_file")
    @classmethod
    def _is_token(cls, path: Path | None) -> Path | None:
        if path is not None:
            if not path.read_bytes().strip():
                raise ValueError("is empty")
            to_metadata(bearer(path))
        return path

    @property
    def recovery_period(self) -> float:
        """The effective recovery period, which is at most the period."""
        return min(self.recovery_period_seconds, self.period_seconds)

    @property
    def tls(self) -> bool:
        """Whether any setting requires TLS; the URL's scheme may require it too."""
        files = (self.tls_ca_file, self.tls_cert_file, self.tls_server_name)
        return any(value is not None for value in files)

    @property
    def files(self) -> dict[str, Path]:
        """The files that are read, by the names of their settings."""
        names = ("tls_ca_file", "tls_cert_file", "tls_key_file", "bearer_token_file")
        return {name: path for name in names if (path := getattr(self, name)) is not None}

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks, the server's first."""
        return (SERVER_LIVE, SERVER_READY, *(model.check for model in self.models))

    @property
    def liveness(self) -> Thresholds:
        """The thresholds of liveness."""
        failure, success = self.liveness_failure_threshold, self.liveness_success_threshold
        return Thresholds(
            failure,
            success,
            min_failure_interval=self.recovery_period / 2,
            min_duration=self._by_rounds_alone,
        )

    @property
    def _by_rounds_alone(self) -> float:
        """Seconds from the last success until rounds alone would prove a frozen server dead.

        Calls of ServerLive between the rounds stop traffic earlier, but must not cause
        an earlier restart. 0 if there are no such calls.
        """
        if not 0 < self.live_period_seconds < self.period_seconds:
            return 0
        gap = max(self.recovery_period, self.timeout_seconds)
        periods = self.period_seconds + self.live_period_seconds
        first = periods * (1 + self.jitter / 2) + self.timeout_seconds
        return first + (self.liveness_failure_threshold - 1) * gap

    @property
    def readiness(self) -> Thresholds:
        """The thresholds of readiness."""
        failure, success = self.readiness_failure_threshold, self.readiness_success_threshold
        return Thresholds(failure, success, min_failure_interval=self.recovery_period / 2)

    @property
    def policy(self) -> Policy:
        """The policy of the verdicts."""
        return Policy(
            max_age=self.max_age_seconds or 3 * self.period_seconds + self.timeout_seconds,
            quorum=f.quorum(self.readiness_policy),
            optional=frozenset(model.check for model in self.models if not model.required),
            require_server_ready=(
                not (self.models or self.discover)
                if self.require_server_ready == "auto"
                else self.require_server_ready
            ),
            startup_grace=self.startup_grace_seconds,
        )

    @property
    def canary_rules(self) -> CanaryRules:
        """The rules for canaries."""
        return CanaryRules(
            period=self.canary_period_seconds,
            timeout=self.canary_timeout_seconds,
            failure_threshold=self.canary_failure_threshold,
            window=self.canary_window,
            success_threshold=self.canary_success_threshold,
            warmup=self.canary_warmup_requests,
            restart_after=self.canary_restart_after_seconds,
            max_restarts_per_hour=self.canary_max_restarts_per_hour,
        )

    @property
    def discovery_rules(self) -> DiscoveryRules | None:
        """The rules of discovery; None if it is off."""
        if not self.discover:
            return None
        return DiscoveryRules(
            period=self.discover_period_seconds,
            configured=frozenset(model.name for model in self.models),
            canaries=self.canary == "auto",
            exclude=self.discover_exclude,
            minimum=self.minimum_models,
            maximum=self.discover_maximum_models,
        )

    @property
    def schedule(self) -> Schedule:
        """The schedule of the checks."""
        rounds = CheckSchedule(self.period_seconds, self.recovery_period, self.timeout_seconds)
        return Schedule(rounds, self.live_period_seconds, self.jitter, self.concurrency)

    def as_yaml(self) -> str:
        """Return all effective settings, secrets masked, as a settings file."""
        values = self.model_dump(mode="json")
        values["max_age_seconds"] = self.policy.max_age
        values["recovery_period_seconds"] = self.recovery_period
        values |= self.model_dump(mode="json", include={"models"}, exclude_none=True)
        values["headers"] = dict.fromkeys(self.headers, MASK)
        # Values on one line can be followed by a comment.
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=sys.maxsize)


def bearer(path: Path) -> dict[str, str]:
    """Return the header for the content of a bearer token file."""
    return {"authorization": f"Bearer {path.read_text('utf-8-sig', 'replace').strip()}"}
