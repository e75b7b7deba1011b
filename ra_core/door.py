"""What `import ra_core` offers; all that it needs is imported when it is called."""

import ra_core.cores  # noqa: F401, which sets how threads wait before torch is imported


def load(name, device="auto", **options):
    """Return a trained network by its name or folder, which takes pictures; see `ra_core.networks.load`."""
    from ra_core.networks import load

    return load(name, device, **options)


def models():
    """Return the table of the networks that ship; see `ra_core.networks.models`."""
    from ra_core.networks import models

    return models()
