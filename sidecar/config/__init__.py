"""Every setting: declared once, read from flags, environment and file, checked.

schema.py       the settings themselves, and the values that they hand out
types.py        what each kind of setting takes, and how people may write it
models.py       the same of the list of models
rules.py        what holds between two settings
environment.py  variables: settings, Kubernetes' links to Services, misspelt ones
yaml_file.py    the settings file, and what YAML silently makes of it
errors.py       the text of each error
load.py         where settings come from, and every error at once
files.py        the settings with what their files hold
watch.py        watches the files, and loads again
certificates.py what TLS files hold
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
