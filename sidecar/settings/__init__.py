"""Every setting: declared once, read from flags, environment and file, refused in plain words.

knobs.py    the settings themselves, and the values that they hand out
fields.py   what each kind of setting takes, and how people may write it
sources.py  where settings come from, and every error at once
"""

from sidecar.settings.fields import Model
from sidecar.settings.knobs import Settings
from sidecar.settings.sources import BadSettings, config_path, load, unknown_variables

__all__ = ["BadSettings", "Model", "Settings", "config_path", "load", "unknown_variables"]
