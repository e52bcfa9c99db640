"""The local cloud: the emulator, what fills its gaps, and the deployment of `template.yaml` into it."""
