"""Names and places that every part of the local cloud agrees on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "template.yaml"
DEFAULT_STATE_DIR = ROOT / ".local"
# A cloud apart: what somebody has made in the default one is none of the demo's.
DEMO_STATE_DIR = DEFAULT_STATE_DIR / "demo"

REGION = "us-east-1"
ACCOUNT = "000000000000"
STACK_NAME = "lamplighter"
ARTIFACT_BUCKET = "lamplighter-artifacts"
# A name, not an address: devices must send the name of the server they mean.
MQTT_HOST = "localhost"
CALLER_ROLE = "lamplighter-caller"

# The emulator takes this key for the account's root, whom no policy limits.
ROOT_KEY = "test"
ROOT_SECRET = "test"


@dataclass(frozen=True)
class StateDir:
    """Where one local cloud keeps what it needs between commands."""

    path: Path

    @property
    def process_file(self) -> Path:
        """Which process runs the emulator, and on which ports."""
        return self.path / "emulator.json"

    @property
    def log_file(self) -> Path:
        """What the emulator wrote."""
        return self.path / "emulator.log"

    @property
    def outputs_file(self) -> Path:
        """What a client of the deployed stack needs to know."""
        return self.path / "outputs.json"

    @property
    def mqtt_ca_file(self) -> Path:
        """The CA that signs the MQTT broker's certificate."""
        return self.path / "mqtt-ca.pem"

    @property
    def packaged_template(self) -> Path:
        """The template with its code in the artifact bucket."""
        return self.path / "packaged.yaml"

    @property
    def parameters_file(self) -> Path:
        """The parameters of the last deployment."""
        return self.path / "parameters.json"

    @property
    def scratch_dir(self) -> Path:
        """The emulator's temporary files, removed when it stops."""
        return self.path / "tmp"
