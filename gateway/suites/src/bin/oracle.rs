//! Asks Envoy and our gateway the same, and tells where they differ, and what
//! grpc-gateway does there.
//!
//! Arguments: Envoy's program, that of grpc-gateway, how many requests to draw, and a
//! seed.

use std::{error::Error, fmt::Write as _, path::PathBuf, process::ExitCode};

use suites::{
    contracts::ORACLE,
    edge::Edge,
    oracle::{Asker, Case, Difference, Other, Outcome, Random, Recorder, Twist, Verdict, judge},
    upstream::Upstream,
};
use tokio::io::AsyncWriteExt as _;

/// What both serve.
const SERVICE: &str = "oracle.v1.Oracle";
/// How many surprises are shown in full.
const SHOWN_MAX: usize = 400;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(envoy), Some(third), Some(count), Some(seed)) =
        (arguments.next(), arguments.next(), arguments.next(), arguments.next())
    else {
        return Err(
            "give the programs of Envoy and grpc-gateway, a number of requests and a seed".into()
        );
    };
    let (count, seed): (u32, u64) = (count.parse()?, seed.parse()?);

    let recorder = Recorder::default();
    let upstream = Upstream::start(recorder.clone()).await?;
    let ours = Edge::new(upstream.address(), ORACLE).start().await?;
    let program = PathBuf::from(envoy);
    let mut envoy = Other::envoy(&program, upstream.address(), ORACLE, SERVICE).await?;
    let third = Other::grpc_gateway(&PathBuf::from(third), upstream.address()).await?;
    let mut ours = Asker::new(ours.address(), recorder.clone());
    let mut theirs = Asker::new(envoy.address(), recorder.clone());
    let mut third = Asker::new(third.address(), recorder.clone());

    let mut random = Random::new(seed);
    let twists = Twist::all().map(|twist| (twist.case(), Some(twist)));
    let drawn = (0..count).map(|_| (Case::draw(&mut random), None));
    let mut report = Report::default();
    for (case, twist) in twists.chain(drawn) {
        let (our_outcome, their_outcome) = (ours.ask(&case).await, theirs.ask(&case).await);
        report.add(&case, twist, &our_outcome, &their_outcome)?;
        if let Some(difference) = twist.and_then(|twist| twist.difference) {
            let outcome = third.ask(&case).await;
            report.add_third(&case, &difference, &our_outcome, &outcome)?;
        }
        if !their_outcome.is_answer() && envoy.has_ended().await {
            envoy = Other::envoy(&program, upstream.address(), ORACLE, SERVICE).await?;
            theirs = Asker::new(envoy.address(), recorder.clone());
        }
    }

    let mut output = tokio::io::stdout();
    output.write_all(report.end(count, seed)?.as_bytes()).await?;
    output.flush().await?;
    Ok(if report.surprises == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Default)]
struct Report {
    text: String,
    same: u32,
    meant: u32,
    /// Differences in which grpc-gateway does as ours.
    borne_out: u32,
    surprises: usize,
}

// === impl Report ===

impl Report {
    fn add(
        &mut self,
        case: &Case,
        twist: Option<Twist>,
        ours: &Outcome,
        theirs: &Outcome,
    ) -> std::fmt::Result {
        let difference = twist.and_then(|twist| twist.difference);
        let what = match (judge(ours, theirs), difference) {
            (Verdict::Same, None) => {
                self.same += 1;
                return Ok(());
            }
            (Verdict::Differ(_), Some(difference)) if difference.is(ours, theirs) => {
                self.meant += 1;
                return Ok(());
            }
            (Verdict::Same, Some(_)) => "agree, and are listed as different".to_owned(),
            (Verdict::Differ(what), _) => format!("differ: {}", what.join(", ")),
        };
        self.surprises += 1;
        if self.surprises <= SHOWN_MAX {
            let name = twist.map_or("drawn", |twist| twist.name);
            writeln!(self.text, "{name}: they {what}\n    {case}")?;
            show(&mut self.text, "ours", ours)?;
            show(&mut self.text, "Envoy", theirs)?;
        }
        Ok(())
    }

    fn add_third(
        &mut self,
        case: &Case,
        difference: &Difference,
        ours: &Outcome,
        third: &Outcome,
    ) -> std::fmt::Result {
        if difference.is_third(ours, third) {
            self.borne_out += u32::from(difference.is_borne_out());
            return Ok(());
        }
        self.surprises += 1;
        writeln!(self.text, "grpc-gateway does not as it is listed to\n    {case}")?;
        show(&mut self.text, "ours", ours)?;
        show(&mut self.text, "grpc-gateway", third)
    }

    fn end(&mut self, count: u32, seed: u64) -> Result<String, std::fmt::Error> {
        let mut text = std::mem::take(&mut self.text);
        writeln!(
            text,
            "{} edges and {count} requests drawn with seed {seed}: {} alike, {} different as listed, in {} of which grpc-gateway does as ours, {} surprises",
            Twist::all().count(),
            self.same,
            self.meant,
            self.borne_out,
            self.surprises
        )?;
        Ok(text)
    }
}

fn show(text: &mut String, who: &str, outcome: &Outcome) -> std::fmt::Result {
    let reached = outcome.recorded.as_ref().map_or_else(
        || "nothing reached the server".to_owned(),
        |recorded| {
            let message = recorded.message.as_ref().map(|message| format!("{message:?}"));
            format!("{} {}", recorded.method, message.unwrap_or_default())
        },
    );
    let body = outcome.body.to_string();
    let body: String = body.chars().take(300).collect();
    let reached: String = reached.chars().take(300).collect();
    writeln!(text, "  {who}: {} {body}\n    {reached}", outcome.status)
}
