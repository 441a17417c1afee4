"""The settings: declared once; read from flags, environment and file; validated.

schema.py       the settings, and the values that other parts get
types.py        the types of settings, and the forms in which they may be written
models.py       the same for the list of models
rules.py        rules that involve more than one setting
environment.py  environment variables: settings, Kubernetes' service links, misspelled names
yaml_file.py    the settings file, and values that YAML changes silently
errors.py       the text of each error
load.py         the sources of settings; collects all errors
files.py        the settings with the contents of their files
watch.py        watches the files and reloads
certificates.py the contents of TLS files
"""

from sidecar.config.environment import suggestion
from sidecar.config.load import (
    BadSettings,
    config_path,
    is_hidden,
    load,
    load_text,
    sources,
    variable_warnings,
)
from sidecar.config.models import Model
from sidecar.config.schema import Settings

__all__ = [
    "BadSettings",
    "Model",
    "Settings",
    "config_path",
    "is_hidden",
    "load",
    "load_text",
    "sources",
    "suggestion",
    "variable_warnings",
]
