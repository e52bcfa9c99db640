//! What a billing group costs, by list prices and stated assumptions.
//!
//! AWS splits an invoice by the tags of billing groups; this is the other
//! half, what Lamplighter itself adds: the registry, renewals and jobs of a
//! month. Prices are list prices of us-east-1 in USD.

use serde::Serialize;

use crate::failure::Failure;
use crate::names::BillingGroupName;
use crate::quote::quoted;

/// One registry operation of AWS IoT.
const REGISTRY: f64 = 1.25e-6;
/// One execution of a job.
const JOB: f64 = 0.003;
/// One transition of a Step Functions workflow.
const TRANSITION: f64 = 25e-6;
/// One write and one read of `DynamoDB`.
const WRITE: f64 = 0.625e-6;
const READ: f64 = 0.125e-6;
/// One invocation of a function, and a GB-second of it on arm64.
const INVOCATION: f64 = 0.2e-6;
const GB_SECOND: f64 = 13.333_4e-6;
/// One event on a custom bus.
const EVENT: f64 = 1e-6;
/// How long an invocation takes, and with how much memory.
const SECONDS: f64 = 0.1;
const GIGABYTES: f64 = 0.25;

/// Days in a month, on average.
const MONTH: f64 = 365.0 / 12.0;
/// Two thirds of a certificate of a year.
const RENEWAL_DAYS: u64 = 243;

/// What one piece of work is made of.
struct Work {
    registry: f64,
    transitions: f64,
    writes: f64,
    reads: f64,
    invocations: f64,
    events: f64,
}

/// One renewal, as counted in the local cloud (`docs/rotation-timeline.md`);
/// writes are an upper bound.
const RENEWAL: Work = Work {
    registry: 6.0,
    transitions: 12.0,
    writes: 112.0,
    reads: 53.0,
    invocations: 15.0,
    events: 1.0,
};

impl Work {
    fn usd(&self) -> f64 {
        self.registry * REGISTRY
            + self.transitions * TRANSITION
            + self.writes * WRITE
            + self.reads * READ
            + self.invocations * (INVOCATION + SECONDS * GIGABYTES * GB_SECOND)
            + self.events * EVENT
    }
}

/// A request for the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CostQuery {
    /// How many jobs a device executes in a month.
    pub jobs_per_device: u64,
    /// After how many days a certificate is renewed.
    pub renewal_days: u64,
}

/// What a month of one billing group costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// The billing group; none for the devices without one.
    pub billing_group: Option<BillingGroupName>,
    /// How many devices it has now.
    pub devices: u64,
    /// What they do in a month.
    pub lines: Vec<Line>,
    /// All of it.
    pub usd: f64,
}

/// One line of a bill.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// What.
    pub what: &'static str,
    /// How often in a month.
    pub quantity: f64,
    /// What once costs.
    pub unit_usd: f64,
    /// What all costs.
    pub usd: f64,
}

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was asked for.
    pub assumed: CostQuery,
    /// What the figures rest on, in words.
    pub assumptions: Vec<String>,
    /// Each billing group, the devices without one last.
    pub items: Vec<Cost>,
    /// All of them.
    pub usd: f64,
}

impl CostQuery {
    /// Reads a query string.
    ///
    /// # Errors
    /// `Invalid`, with the parameter.
    pub fn parse(query: &str) -> Result<Self, Failure> {
        let mut asked = Self {
            jobs_per_device: 1,
            renewal_days: RENEWAL_DAYS,
        };
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let number = |least, most| {
                let number: Option<u64> = value.parse().ok();
                number
                    .filter(|n| (least..=most).contains(n))
                    .ok_or_else(|| {
                        let remedy = format!("Give a whole number from {least} to {most}.");
                        Failure::invalid(name, format!("{} is none", quoted(value)), remedy)
                    })
            };
            match name {
                "by" if value == "billingGroup" => {}
                "jobsPerDevice" => asked.jobs_per_device = number(0, 10_000)?,
                "renewalDays" => asked.renewal_days = number(1, 20_000)?,
                _ => {
                    return Err(Failure::invalid(
                        "query",
                        format!("{} is no query of this route", quoted(part)),
                        "Use by=billingGroup, jobsPerDevice and renewalDays.",
                    ));
                }
            }
        }
        Ok(asked)
    }

    /// The report, from how many devices each billing group has.
    pub fn report(
        self,
        counts: impl IntoIterator<Item = (Option<BillingGroupName>, u64)>,
    ) -> Report {
        let mut items: Vec<_> = counts
            .into_iter()
            .map(|(group, devices)| self.cost(group, devices))
            .collect();
        items.sort_by(|a, b| {
            let key = |c: &Cost| (c.billing_group.is_none(), c.billing_group.clone());
            key(a).cmp(&key(b))
        });
        Report {
            assumptions: self.assumptions(),
            usd: items.iter().map(|item| item.usd).sum(),
            items,
            assumed: self,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of devices and days")]
    fn cost(&self, billing_group: Option<BillingGroupName>, devices: u64) -> Cost {
        let fleet = devices as f64;
        let renewals = fleet * MONTH / self.renewal_days as f64;
        let jobs = fleet * self.jobs_per_device as f64;
        let line = |what, quantity: f64, unit_usd: f64| Line {
            what,
            quantity,
            unit_usd,
            usd: quantity * unit_usd,
        };
        let lines = vec![
            line("renewals", renewals, RENEWAL.usd()),
            line("job executions", jobs, JOB),
        ];
        Cost {
            billing_group,
            devices,
            usd: lines.iter().map(|line| line.usd).sum(),
            lines,
        }
    }

    fn assumptions(&self) -> Vec<String> {
        vec![
            "list prices of us-east-1, without a free tier".to_owned(),
            "devices are those that the registry has at this moment, whatever their status"
                .to_owned(),
            format!("a certificate is renewed every {} days", self.renewal_days),
            format!("a device executes {} jobs in a month", self.jobs_per_device),
            "a renewal is what was counted in the local cloud, its writes an upper bound"
                .to_owned(),
            "not in it: messages, connection time, rules, shadows, logs, storage".to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_adds_up() {
        let group = |name: &str| BillingGroupName::parse(name).ok();
        let asked = CostQuery::parse("by=billingGroup&jobsPerDevice=2").unwrap();
        let report = asked.report([(None, 0), (group("turin"), 1000), (group("milan"), 10)]);
        let names: Vec<_> = report
            .items
            .iter()
            .map(|i| i.billing_group.as_ref().map(BillingGroupName::as_str))
            .collect();
        assert_eq!(names, [Some("milan"), Some("turin"), None]);
        let turin = &report.items[1];
        assert!((turin.lines[1].usd - 6.0).abs() < 1e-9, "{turin:?}");
        // What the timeline's table says of a thousand renewals.
        let thousand = 1000.0 * turin.lines[0].unit_usd;
        assert!((0.38..0.40).contains(&thousand), "{thousand}");
        assert!((turin.usd - turin.lines.iter().map(|l| l.usd).sum::<f64>()).abs() < 1e-9);
        assert!((report.usd - report.items.iter().map(|i| i.usd).sum::<f64>()).abs() < 1e-9);
        assert!(report.assumptions.iter().any(|a| a.contains("2 jobs")));
    }

    #[test]
    fn queries() {
        for (query, fine) in [
            ("", true),
            ("by=billingGroup", true),
            ("by=thingType", false),
            ("renewalDays=0", false),
            ("renewalDays=x", false),
            ("jobsPerDevice=0&renewalDays=30", true),
            ("jobs=1", false),
        ] {
            assert_eq!(CostQuery::parse(query).is_ok(), fine, "{query}");
        }
    }
}
