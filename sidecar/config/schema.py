"""Every setting, validated; hands out values of the core, not itself."""

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
    """The settings, each valid by itself; rules.py has what holds between two of them."""

    model_config = SettingsConfigDict(
        case_sensitive=True,  # or SERVER_URL in the file would be server_url
        extra="forbid",
        frozen=True,
        validate_default=True,
        json_schema_extra={"description": "The settings of the Inference Health Sidecar."},
    )

    server_url: f.Url = Field("localhost:8001", description="where the inference server listens")
    grpc_service: f.Service = Field(SERVICE, description="full name of the service")
    models: f.Models = Field((), description="models to probe")
    period_seconds: f.Seconds = Field(
        5, description="from the start of one round to the start of the next while all is well"
    )
    recovery_period_seconds: f.Seconds = Field(
        1, description="the same while anything is not serving"
    )
    live_period_seconds: f.SecondsOrZero = Field(
        1, description="how often ServerLive alone is asked between two rounds; 0: never"
    )
    timeout_seconds: f.Seconds = Field(2, description="deadline of each call to the server")
    jitter: f.Share = Field(0.1, description="share of the period by which rounds are spread")
    concurrency: f.Count = Field(8, description="maximum number of calls in flight")
    liveness_failure_threshold: f.Count = Field(
        3, description="counted failures in a row until the server is not live"
    )
    liveness_success_threshold: f.Count = Field(
        1, description="successes in a row until it is live"
    )
    readiness_failure_threshold: f.Count = Field(
        3, description="counted failures in a row until a check is not ready"
    )
    readiness_success_threshold: f.Count = Field(
        1, description="successes in a row until it is ready"
    )
    startup_grace_seconds: f.SecondsOrZero = Field(
        0, description="grace period before /healthz may fail for a server that has never been live"
    )
    max_age_seconds: f.Seconds | None = Field(
        None, description="results older than this are stale; default: 3 periods and the timeout"
    )
    require_server_ready: f.AutoOrBoolean = Field(
        "auto",
        description="whether ServerReady gates /readyz; auto: only where no model is configured"
        " and none is discovered",
    )
    readiness_policy: f.QuorumText = Field(
        "all", description="how many of the required models must be ready"
    )
    canary: f.CanaryMode = Field(
        "off",
        description="auto: each model has to answer an inference that is built from its metadata",
    )
    canary_dir: f.Directory | None = Field(
        None, description="directory of requests in V2 JSON, NAME.json for the model NAME"
    )
    canary_period_seconds: f.Seconds = Field(
        30, description="from the result of a canary to the next one while it passes"
    )
    canary_timeout_seconds: f.Seconds = Field(
        30, description="time without a reply and without a sign of progress that is a timeout"
    )
    canary_failure_threshold: f.Count = Field(
        2, description="failures among the last canary_window results until a canary fails"
    )
    canary_window: f.Count = Field(4, description="number of last results that count")
    canary_success_threshold: f.Count = Field(
        3, description="successes in a row after a failure until a canary passes"
    )
    canary_warmup_requests: f.Count = Field(
        1, description="successes in a row after a start until a canary passes"
    )
    canary_max_reply_bytes: f.Count = Field(
        4 * 1024 * 1024, description="size of the largest reply to a canary"
    )
    canary_restart_after_seconds: f.SecondsOrZero = Field(
        0, description="time for which canaries have to fail before /healthz fails; 0: never"
    )
    canary_max_restarts_per_hour: f.Count = Field(
        3, description="restarts because of canaries in an hour, at most"
    )
    progress_metrics_url: f.MetricsUrl | None = Field(
        None,
        description="the server's metrics page, whose counters show that a model makes progress",
    )
    discover: f.Switch = Field(
        False, description="whether the models in the server's repository are checked too"
    )
    discover_exclude: f.Patterns = Field(
        (), description="names of models that are not discovered, * for any characters"
    )
    discover_period_seconds: f.Seconds = Field(
        30, description="time between two looks into the repository"
    )
    discover_maximum_models: f.Count = Field(
        1000, description="discovered models that are checked at most"
    )
    minimum_models: f.Count = Field(
        1, description="models that the repository must have, where models are discovered"
    )
    tls_ca_file: f.File | None = Field(None, description="PEM file of the authorities to trust")
    tls_cert_file: f.SecretFile | None = Field(
        None, description="PEM file of this client's certificate"
    )
    tls_key_file: f.SecretFile | None = Field(None, description="PEM file of its private key")
    tls_server_name: f.Text | None = Field(
        None, description="name to expect in the server's certificate"
    )
    authority: f.Authority | None = Field(
        None,
        description=":authority of each call, with TLS the name to expect as well unless"
        " tls_server_name is given; default: from server_url",
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
        False, description="whether transitions become Kubernetes Events on this pod"
    )
    pod_name: f.PodName | None = Field(
        None, description="name of this pod (metadata.name), for kubernetes_events"
    )
    pod_uid: f.Uid | None = Field(
        None, description="uid of this pod (metadata.uid), for kubernetes_events"
    )
    drain_seconds: f.SecondsOrZero = Field(
        5, description="how long everything but /readyz goes on after SIGTERM"
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        f.Lower,
        f.Allowed("debug, info, warning or error"),
    ] = Field("info", description="lowest level that is logged")
    log_format: Annotated[
        Literal["auto", "text", "json"], f.Lower, f.Allowed("auto, text or json")
    ] = Field("auto", description="auto: text on a terminal, else one JSON object a line")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given: load.py reads the sources, and names each in its errors."""
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
        """The recovery period in force: what is not well is never asked less often than what is."""
        return min(self.recovery_period_seconds, self.period_seconds)

    @property
    def tls(self) -> bool:
        """Whether any setting asks for TLS; the URL's scheme may ask for it too."""
        files = (self.tls_ca_file, self.tls_cert_file, self.tls_server_name)
        return any(value is not None for value in files)

    @property
    def files(self) -> dict[str, Path]:
        """The files whose content counts, by the names of their settings."""
        names = ("tls_ca_file", "tls_cert_file", "tls_key_file", "bearer_token_file")
        return {name: path for name in names if (path := getattr(self, name)) is not None}

    @property
    def checks(self) -> tuple[Check, ...]:
        """What is asked, the server first."""
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
        """Seconds from the last success until rounds alone prove a frozen server dead.

        To ask ServerLive between the rounds stops traffic earlier; it must not
        restart a server earlier. 0 where it is not asked.
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
        """What counts towards the verdicts."""
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
        """How the results of canaries are judged."""
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
        """Which models are discovered; None for none."""
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
        """When the checks are asked."""
        rounds = CheckSchedule(self.period_seconds, self.recovery_period, self.timeout_seconds)
        return Schedule(rounds, self.live_period_seconds, self.jitter, self.concurrency)

    def as_yaml(self) -> str:
        """Every setting as it is in force, secrets masked, in the form of a settings file."""
        values = self.model_dump(mode="json")
        values["max_age_seconds"] = self.policy.max_age
        values["recovery_period_seconds"] = self.recovery_period
        values |= self.model_dump(mode="json", include={"models"}, exclude_none=True)
        values["headers"] = dict.fromkeys(self.headers, MASK)
        # A value on one line can have a comment behind it.
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=sys.maxsize)


def bearer(path: Path) -> dict[str, str]:
    """The header that a file with a bearer token stands for."""
    return {"authorization": f"Bearer {path.read_text('utf-8-sig', 'replace').strip()}"}
