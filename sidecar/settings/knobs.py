"""Every knob, validated; hands out values of the core, not itself."""

import ssl
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sidecar.certificates import earliest_expiry
from sidecar.client.channel import parse_url
from sidecar.client.metadata import to_metadata
from sidecar.health.checks import SERVER_LIVE, SERVER_READY, Check
from sidecar.health.state import Thresholds
from sidecar.health.verdict import Policy
from sidecar.oip import SERVICE
from sidecar.settings import fields as f

PREFIX = "SIDECAR_"
MASK = "***"


class Settings(BaseSettings):
    """The settings, in the order in which they are validated.

    A rule between two settings stands at the later one, so that one pass
    reports everything that is wrong.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        validate_default=True,
        json_schema_extra={"description": "The settings of the Inference Health Sidecar."},
    )

    server_url: f.Url = Field("localhost:8001", description="where the inference server listens")
    grpc_service: f.Service = Field(SERVICE, description="full name of the service")
    models: f.Models = Field((), description="models to ask about")
    period_seconds: f.Seconds = Field(
        5, description="from the start of one round to the start of the next while all is well"
    )
    recovery_period_seconds: f.Seconds = Field(
        1, description="the same while anything is not serving"
    )
    timeout_seconds: f.Seconds = Field(2, description="deadline of every single question")
    jitter: f.Share = Field(0.1, description="share of the period by which rounds are spread")
    concurrency: f.Count = Field(8, description="questions in flight at once, at most")
    liveness_failure_threshold: f.Count = Field(
        3, description="doubtful answers in a row until the server is not live"
    )
    liveness_success_threshold: f.Count = Field(
        1, description="good answers in a row until it is live"
    )
    readiness_failure_threshold: f.Count = Field(
        3, description="doubtful answers in a row until a check is not ready"
    )
    readiness_success_threshold: f.Count = Field(
        1, description="good answers in a row until it is ready"
    )
    startup_grace_seconds: f.SecondsOrZero = Field(
        0, description="how long a server never yet seen live does not fail /healthz"
    )
    max_age_seconds: f.Seconds | None = Field(
        None, description="an older answer proves nothing; default: 3 periods and the timeout"
    )
    require_server_ready: f.YesNo = Field(True, description="whether ServerReady gates /readyz")
    readiness_policy: f.QuorumText = Field(
        "all", description="how many of the required models must be ready"
    )
    tls_ca_file: f.File | None = Field(None, description="PEM file of the authorities to trust")
    tls_cert_file: f.File | None = Field(None, description="PEM file of this client's certificate")
    tls_key_file: f.File | None = Field(None, description="PEM file of its private key")
    tls_server_name: f.Text | None = Field(
        None, description="name to expect in the server's certificate"
    )
    headers: f.HeaderMap = Field({}, description="metadata sent with every question")
    bearer_token_file: f.File | None = Field(
        None, description="file whose content is sent as authorization: Bearer"
    )
    reload_interval_seconds: f.Seconds = Field(
        5, description="how often the settings file and the files it names are looked at"
    )
    http_host: f.Text | None = Field(
        None, description="address to listen on; default: all interfaces, both families"
    )
    http_port: f.Port = Field(9808, description="port to listen on")
    drain_seconds: f.SecondsOrZero = Field(
        5, description="how long everything but /readyz goes on after SIGTERM"
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        f.Lower,
        f.Allowed("debug, info, warning or error"),
    ] = Field("info", description="least level that is logged")
    log_format: Annotated[
        Literal["auto", "text", "json"], f.Lower, f.Allowed("auto, text or json")
    ] = Field("auto", description="auto: text on a terminal, else one JSON object a line")

    @field_validator("tls_ca_file")
    @classmethod
    def _is_authority(cls, path: Path | None) -> Path | None:
        if path is not None:
            earliest_expiry(path)
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
            except ssl.SSLError as error:
                raise ValueError(f"cannot be used: {error.reason}") from None
        return path

    @field_validator("tls_cert_file")
    @classmethod
    def _is_certificate(cls, path: Path | None) -> Path | None:
        if path is not None:
            earliest_expiry(path)
        return path

    @field_validator("tls_key_file")
    @classmethod
    def _is_pair(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if "tls_cert_file" not in info.data:
            return key  # its own error is reported already
        cert = info.data["tls_cert_file"]
        if (cert is None) != (key is None):
            raise ValueError("tls_cert_file and tls_key_file come together or not at all")
        if key is not None:
            try:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.load_cert_chain(cert, key, password=lambda: b"")
            except ssl.SSLError as error:
                raise ValueError(f"no pair with tls_cert_file: {error.reason}") from None
        return key

    @field_validator("server_url")
    @classmethod
    def _is_target(cls, url: str) -> str:
        parse_url(url)
        return url

    @field_validator("tls_ca_file", "tls_cert_file", "tls_key_file", "tls_server_name")
    @classmethod
    def _fits_url(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and "server_url" in info.data:
            parse_url(info.data["server_url"], tls=True)
        return value

    @field_validator("timeout_seconds")
    @classmethod
    def _below_period(cls, timeout: float, info: ValidationInfo) -> float:
        period = info.data.get("period_seconds")
        if period is not None and timeout >= period:
            raise ValueError(f"not shorter than period_seconds, {period:g}")
        return timeout

    @field_validator("max_age_seconds")
    @classmethod
    def _outlives_a_round(cls, age: float | None, info: ValidationInfo) -> float | None:
        parts = [info.data.get(f"{name}_seconds") for name in ("period", "timeout")]
        jitter = info.data.get("jitter")
        if age is None or jitter is None or None in parts:
            return age
        least = parts[0] * (1 + jitter / 2) + parts[1]
        if age < least:
            raise ValueError(
                f"shorter than a period with its jitter and the timeout, {least:g}:"
                " good answers would grow old between two rounds"
            )
        return age

    @field_validator("readiness_policy")
    @classmethod
    def _can_be_met(cls, text: str, info: ValidationInfo) -> str:
        required = sum(model.required for model in info.data.get("models", ()))
        if "models" in info.data and text.isdigit() and int(text) > required:
            raise ValueError(f"only {required} required models are configured")
        return text

    @field_validator("bearer_token_file")
    @classmethod
    def _is_token(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is not None:
            if "authorization" in info.data.get("headers", {}):
                raise ValueError("headers holds an authorization already")
            if not path.read_bytes().strip():
                raise ValueError("is empty")
            to_metadata(_bearer(path))
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
        return Thresholds(failure, success, apart=self.recovery_period / 2)

    @property
    def readiness(self) -> Thresholds:
        """The thresholds of readiness."""
        failure, success = self.readiness_failure_threshold, self.readiness_success_threshold
        return Thresholds(failure, success, apart=self.recovery_period / 2)

    @property
    def policy(self) -> Policy:
        """What counts towards the verdicts."""
        return Policy(
            max_age=self.max_age_seconds or 3 * self.period_seconds + self.timeout_seconds,
            quorum=f.quorum(self.readiness_policy),
            optional=frozenset(model.check for model in self.models if not model.required),
            require_server_ready=self.require_server_ready,
            startup_grace=self.startup_grace_seconds,
        )

    @property
    def metadata(self) -> dict[str, str]:
        """The headers of every question, the bearer token's included."""
        token = _bearer(self.bearer_token_file) if self.bearer_token_file else {}
        return {**self.headers, **token}

    def as_yaml(self) -> str:
        """Every setting as it is in force, secrets masked, in the form of a settings file."""
        values = self.model_dump(mode="json")
        values["max_age_seconds"] = self.policy.max_age
        values["recovery_period_seconds"] = self.recovery_period
        values["headers"] = dict.fromkeys(self.headers, MASK)
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _bearer(path: Path) -> dict[str, str]:
    return {"authorization": f"Bearer {path.read_text('utf-8', 'replace').strip()}"}
