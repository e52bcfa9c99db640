//! Devices named on the command line, each followed to the end of what is done
//! to it.

use clap::Args;
use serde_json::Value;

use crate::bulk::{self, CONCURRENCY};
use crate::failure::{Exit, Failure};
use crate::operation::{self, Patience};
use crate::output::Format;
use crate::progress;

/// Which devices, and how patiently.
#[derive(Debug, Args)]
pub(super) struct Many {
    /// The devices' thing names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    pub(super) patience: Patience,

    /// How many devices are worked on at a time
    #[arg(long, default_value_t = CONCURRENCY, value_name = "N")]
    concurrency: usize,
}

impl Many {
    /// Does `work` to each device, which answers with an operation. `doing` is
    /// said while it is done, `told` heads what there is to say in the end.
    pub(super) async fn each<W>(
        &self,
        doing: &'static str,
        told: &str,
        format: Format,
        work: W,
    ) -> Exit
    where
        W: AsyncFn(&str) -> Result<(Exit, Value), Failure>,
    {
        let bar = progress::bar(doing, self.names.len());
        let items = self.names.iter().map(|name| (name.clone(), ())).collect();
        let work = async |name: &str, ()| work(name).await;
        let outcomes = bulk::each(items, self.concurrency, format, &bar, work).await;
        if !format.is_json() {
            operation::show_all(&outcomes, told);
        }
        bulk::conclude(&outcomes)
    }
}
