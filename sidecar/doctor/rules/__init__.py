"""The kinds of mistakes, each with the rule that finds it.

To add one, write a function with `@rule` in the module of its subject, a manifest that has it
and one that nearly has it in tests/doctor/, and run `make docs`.
"""

from sidecar.doctor.rules import probes, scaling, server, sidecar, termination

__all__ = ["probes", "scaling", "server", "sidecar", "termination"]
