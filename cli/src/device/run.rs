//! `lamp device run`: the reference device, one of it.

use clap::Args;

use super::thing_name;
use crate::failure::{Exit, Failure};
use crate::fleet::{self, Life, Member};
use crate::output::Format;
use crate::reference::Misbehaviour;
use crate::settings::Target;

/// Which device, and how it lives.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The device's thing name, which is also its MQTT client id
    #[arg(long, value_name = "NAME")]
    thing: String,

    /// A way to break the rotation's protocol, for tests
    #[arg(long, value_enum, value_name = "HOW")]
    misbehave: Option<Misbehaviour>,

    #[command(flatten)]
    life: Life,
}

pub(super) async fn run(
    arguments: &Arguments,
    target: &Target,
    format: Format,
) -> Result<Exit, Failure> {
    let member = Member {
        thing: thing_name(&arguments.thing)?,
        misbehaviour: arguments.misbehave,
    };
    fleet::live(vec![member], &arguments.life, target, format).await
}
