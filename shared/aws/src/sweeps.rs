//! Sweeps: started, planned page by page, and commanded.

use aws_config::SdkConfig;
use lamplighter_domain::names::SweepId;
use lamplighter_domain::sweep::budget::{Budget, Quotas, Wishes};
use lamplighter_domain::sweep::page::{Otherwise, Page, Start};
use lamplighter_domain::sweep::{
    Change, Command, FailureRule, Forecast, Progress, Sweep, SweepStatus, SweepView,
};
use lamplighter_domain::time::{Day, Moment};
use lamplighter_domain::{Failure, Kind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::sweep_rows::{self, Saved, save};
use crate::table::Table;
use crate::{clock, due, setup, workflows};

/// How often a change is tried while others change the same sweep.
const ATTEMPTS: u32 = 5;

/// Everything that sweeps work with; built once, in init.
pub struct Sweeps {
    /// The registry.
    pub table: Table,
    /// What starts the workflow.
    pub sfn: aws_sdk_sfn::Client,
    /// The workflow `renewal-sweep`.
    pub workflow_arn: String,
    /// What a sweep may spend.
    pub budget: Budget,
    /// When a sweep aborts itself.
    pub rule: FailureRule,
    /// Whether somebody has to approve it first.
    pub needs_approval: bool,
}

/// `POST /sweeps`, its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Only tell what would be started, and until when.
    pub dry_run: bool,
    /// Look from this day on, instead of from where the last sweep ended.
    pub since: Option<Day>,
}

/// One step of the workflow.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The execution's name.
    pub execution: String,
    /// The execution's own input.
    #[serde(default)]
    pub input: Input,
    /// How far the page before has taken the sweep, once it is started.
    #[serde(default)]
    pub after: Option<Progress>,
    /// What ended the execution, if it failed.
    #[serde(default)]
    pub failed: Option<String>,
}

/// What an execution is started with: nothing by the schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Input {
    /// The sweep.
    pub sweep_id: Option<SweepId>,
    /// Which of its executions this is.
    pub run: u32,
}

/// What the workflow does next.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "UPPERCASE")]
pub enum Next {
    /// Start these, then ask again.
    Start {
        /// The rotations.
        page: Vec<Start>,
        /// To be handed back then.
        after: Box<Progress>,
    },
    /// Ask again after some seconds.
    Wait {
        /// How many.
        seconds: u64,
        /// To be handed back then.
        after: Box<Progress>,
    },
    /// Nothing.
    End {
        /// The sweep as it stands.
        sweep: Value,
    },
}

impl Sweeps {
    /// What the stack gives its sweeps.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        let number = |name: &str| -> Result<Option<u32>, Failure> {
            let read = |text: String| text.parse().map_err(|_| not_a_number(name, &text));
            setup::optional(name).map(read).transpose()
        };
        let usual = Quotas::default();
        let quotas = Quotas {
            update_certificate: number("QUOTA_UPDATE_CERTIFICATE")?
                .unwrap_or(usual.update_certificate),
            delete_certificate: number("QUOTA_DELETE_CERTIFICATE")?
                .unwrap_or(usual.delete_certificate),
            create_certificate_from_csr: number("QUOTA_CREATE_CERTIFICATE_FROM_CSR")?
                .unwrap_or(usual.create_certificate_from_csr),
            register_certificate_without_ca: number("QUOTA_REGISTER_CERTIFICATE_WITHOUT_CA")?
                .unwrap_or(usual.register_certificate_without_ca),
            jobs: number("QUOTA_JOBS")?.unwrap_or(usual.jobs),
        };
        // Zero stands for no limit of one's own.
        let limit = |name: &str| Ok(number(name)?.filter(|limit| *limit > 0));
        let wishes = Wishes {
            share_percent: number("SWEEP_QUOTA_SHARE")?.unwrap_or(50),
            per_second: limit("SWEEP_PER_SECOND")?,
            per_day: limit("SWEEP_PER_DAY")?.map(u64::from),
        };
        let rule = FailureRule::default();
        Ok(Self {
            table: Table::from_env(sdk)?,
            sfn: aws_sdk_sfn::Client::new(sdk),
            workflow_arn: setup::required("SWEEP_WORKFLOW_ARN")?,
            budget: Budget::new(&quotas, &wishes, setup::messenger()?)?,
            rule: FailureRule {
                percent: number("SWEEP_FAILURE_SHARE")?.map_or(rule.percent, u64::from),
                ..rule
            },
            needs_approval: setup::optional("SWEEP_NEEDS_APPROVAL").as_deref() == Some("true"),
        })
    }

    /// Starts a sweep now, or tells what it would do.
    pub async fn start(&self, caller: &str, key: &str, asked: Asked) -> Result<Value, Failure> {
        let now = clock::now();
        let id = SweepId::from_key(&format!("{caller}\0{key}"));
        let forecast = self.forecast(asked.since, now).await?;
        if asked.dry_run {
            let sweep = Sweep::new(id, caller, true, self.budget, &forecast, now);
            let mut answer = json!(SweepView::new(
                &sweep,
                lamplighter_domain::sweep::Counts::default(),
                now
            ));
            answer["status"] = "DRY_RUN".into();
            if let Some(fields) = answer.as_object_mut() {
                fields.remove("sweepId");
            }
            return Ok(answer);
        }
        let sweep = self.claim(id, caller, &forecast, now).await?;
        if sweep.status == SweepStatus::Running {
            self.run(&sweep).await?;
        }
        sweep_rows::view(&self.table, &sweep.sweep_id, now).await
    }

    async fn forecast(&self, since: Option<Day>, now: Moment) -> Result<Forecast, Failure> {
        let pointer = sweep_rows::pointer(&self.table).await?;
        let oldest = sweep_rows::oldest_day(pointer.as_ref(), now);
        let from = since.map_or(oldest, |since| since.min(oldest));
        due::forecast(&self.table, from, now).await
    }

    /// Makes the sweep, or finds it made.
    async fn claim(
        &self,
        id: SweepId,
        by: &str,
        forecast: &Forecast,
        now: Moment,
    ) -> Result<Sweep, Failure> {
        if let Some((sweep, _)) = sweep_rows::sweep(&self.table, &id).await? {
            return Ok(sweep);
        }
        let sweep = Sweep::new(id, by, self.needs_approval, self.budget, forecast, now);
        match save(&self.table, sweep).await? {
            (Saved::Yes, sweep) => Ok(sweep),
            (Saved::Changed, sweep) => Ok(sweep_rows::named(&self.table, &sweep.sweep_id).await?.0),
            (Saved::OtherOpen, _) => Err(self.other_open().await?),
        }
    }

    async fn other_open(&self) -> Result<Failure, Failure> {
        let open = sweep_rows::pointer(&self.table).await?;
        let open = open.map(|pointer| pointer.sweep_id.to_string());
        Ok(Failure::conflict(
            "sweepId",
            format!("the sweep {} is open", open.unwrap_or_default()),
            "Two sweeps would share one budget: wait for its end, or abort it.",
        ))
    }

    /// Starts the execution of the sweep's newest run. Repeated, it is the same.
    async fn run(&self, sweep: &Sweep) -> Result<(), Failure> {
        let input = Input {
            sweep_id: Some(sweep.sweep_id.clone()),
            run: sweep.run,
        };
        let name = [format!("{}-{}", sweep.sweep_id, sweep.run)];
        workflows::start(
            &self.sfn,
            &self.workflow_arn,
            name,
            &json!(input).to_string(),
        )
        .await
    }

    /// Does to a sweep what a person asks for.
    pub async fn obey(&self, id: &SweepId, command: Command) -> Result<Value, Failure> {
        let now = clock::now();
        for _ in 0..ATTEMPTS {
            let (mut sweep, counts) = sweep_rows::named(&self.table, id).await?;
            let forecast = match command {
                Command::Retry => self.forecast(None, now).await?,
                _ => Forecast {
                    due: sweep.due,
                    oldest: sweep.oldest_day(),
                },
            };
            match sweep.obey(command, counts, &forecast, now)? {
                // The first request may have ended before it started the run.
                Change::None if sweep.status == SweepStatus::Running => {
                    self.run(&sweep).await?;
                }
                Change::None => {}
                change => match save(&self.table, sweep).await? {
                    (Saved::Yes, sweep) if change == Change::StartRun => self.run(&sweep).await?,
                    (Saved::Yes, _) => {}
                    (Saved::Changed, _) => continue,
                    (Saved::OtherOpen, _) => return Err(self.other_open().await?),
                },
            }
            return sweep_rows::view(&self.table, id, now).await;
        }
        Err(Failure::busy("the sweep is changing at this moment", 1).field("sweepId"))
    }

    /// One step of the workflow: records the page that has been started, and
    /// plans the next one.
    pub async fn step(&self, step: &Step) -> Result<Next, Failure> {
        let now = clock::now();
        for _ in 0..ATTEMPTS {
            let Some(mut sweep) = self.of_execution(step, now).await? else {
                let open = sweep_rows::pointer(&self.table).await?;
                return Ok(Next::End {
                    sweep: json!({ "open": open }),
                });
            };
            let (_, counts) = sweep_rows::named(&self.table, &sweep.sweep_id).await?;
            if sweep.run != step.input.run {
                return self.end(&sweep, now).await;
            }
            let before = sweep.clone();
            if let Some(progress) = &step.after {
                sweep.advance(progress.clone());
            }
            if sweep.status.open() {
                sweep.check(counts, self.rule, now);
                if let Some(error) = &step.failed {
                    sweep.abort(&format!("its workflow failed: {error}"), now);
                }
            }
            let next = if sweep.status == SweepStatus::Running {
                self.page(&mut sweep, now).await?
            } else {
                None
            };
            if sweep != before {
                match save(&self.table, sweep.clone()).await? {
                    (Saved::Yes, _) => {}
                    (Saved::Changed | Saved::OtherOpen, _) => continue,
                }
            }
            return match next {
                Some(next) => Ok(next),
                None => self.end(&sweep, now).await,
            };
        }
        Err(Failure::busy("the sweep is changing at this moment", 1))
    }

    /// The sweep that an execution works on. The schedule's executions make
    /// theirs, unless another one is open.
    async fn of_execution(&self, step: &Step, now: Moment) -> Result<Option<Sweep>, Failure> {
        if let Some(id) = &step.input.sweep_id {
            return Ok(Some(sweep_rows::named(&self.table, id).await?.0));
        }
        let id = SweepId::from_key(&step.execution);
        if let Some((sweep, _)) = sweep_rows::sweep(&self.table, &id).await? {
            return Ok(Some(sweep));
        }
        let forecast = self.forecast(None, now).await?;
        match self.claim(id, "schedule", &forecast, now).await {
            Ok(sweep) => Ok(Some(sweep)),
            Err(open) if open.kind == Kind::Conflict => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Plans a page; none when the sweep has ended, which is then closed.
    async fn page(&self, sweep: &mut Sweep, now: Moment) -> Result<Option<Next>, Failure> {
        let mut page = Page::new(sweep, now);
        while let Some(read) = page.next_read() {
            let (rows, more) = due::read(&self.table, &read).await?;
            let found = due::standings(&self.table, rows, &sweep.sweep_id, now).await?;
            page.take(found, more);
        }
        let planned = page.finish();
        let after = Box::new(planned.progress);
        if !planned.starts.is_empty() {
            return Ok(Some(Next::Start {
                page: planned.starts,
                after,
            }));
        }
        match planned.otherwise {
            Otherwise::Again(seconds) => Ok(Some(Next::Wait { seconds, after })),
            Otherwise::Over => {
                sweep.advance(*after);
                sweep.close(now);
                Ok(None)
            }
        }
    }

    async fn end(&self, sweep: &Sweep, now: Moment) -> Result<Next, Failure> {
        let sweep = sweep_rows::view(&self.table, &sweep.sweep_id, now).await?;
        Ok(Next::End { sweep })
    }
}

fn not_a_number(name: &str, text: &str) -> Failure {
    Failure::bug(format!(
        "the environment variable {name} is {text:?}, no number"
    ))
}
