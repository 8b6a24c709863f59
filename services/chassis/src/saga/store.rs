//! What the engine keeps, and the statements that keep it.

use crate::{
    args,
    clock::Time,
    statements,
    store::{self, FromRow, Row, Tx},
};

statements! {
    /// A new instance, already under the lease of the process that begins it.
    INSERT = "\
        insert into saga (saga_id, name, version, pivot, status, undoing, step, state, attempts, message, \
            lease_owner, lease_epoch, lease_expire_time, wakes, next_time, deadline, create_time, update_time) \
        values ($1, $2, $3, $4, 'RUNNING', false, $5, $6, 0, '', $7, 1, $8, 0, $9, $10, $9, $9)";
    /// Takes an instance up if its time has come and nobody works on it.
    CLAIM = "\
        update saga set lease_owner = $2, lease_epoch = lease_epoch + 1, lease_expire_time = $3 \
        where saga_id = $1 and status in ('RUNNING', 'PARKED', 'COMPENSATING') and next_time <= $4 \
            and (lease_expire_time is null or lease_expire_time <= $4) \
        returning *";
    /// Saves an outcome. Fenced by the epoch; a step that is done before the pivot
    /// is saved only if nobody asked to go back meanwhile ($12). A wake-up that came
    /// meanwhile makes the instance due at once.
    SAVE = "\
        update saga set status = $3, undoing = $4, step = $5, state = $6, attempts = $7, message = $8, \
            next_time = case when wakes = $9 then cast($10 as bigint) else cast($11 as bigint) end, \
            lease_expire_time = $13, update_time = $11, \
            directive = case when cast($14 as bigint) = 1 then null else directive end \
        where saga_id = $1 and lease_epoch = $2 and (interrupt is null or cast($12 as bigint) = 0) \
        returning wakes, interrupt, directive";
    /// Why a save found nothing: another epoch, or an interrupt.
    FENCE = "select interrupt from saga where saga_id = $1 and lease_epoch = $2";
    /// Lets go of an instance at the drain.
    LET_GO = "update saga set lease_expire_time = null where saga_id = $1 and lease_epoch = $2";
    /// One line of the log.
    LOG = "\
        insert into saga_step (saga_id, step, undo, attempt, outcome, message, create_time) \
        values ($1, $2, $3, $4, $5, $6, $7)";
    /// What is due and nobody works on.
    DUE = "\
        select saga_id from saga \
        where status in ('RUNNING', 'PARKED', 'COMPENSATING') and next_time <= $1 \
            and (lease_expire_time is null or lease_expire_time <= $1) \
        order by next_time limit $2";
    /// A database file has one process: whatever lease is in it when that process
    /// starts belonged to one that is gone.
    TAKE_OVER = "\
        update saga set lease_expire_time = null, lease_epoch = lease_epoch + 1 \
        where lease_expire_time is not null and status in ('RUNNING', 'PARKED', 'COMPENSATING')";
    /// Makes an instance due.
    WAKE = "\
        update saga set wakes = wakes + 1, next_time = $2 \
        where saga_id = $1 and status in ('RUNNING', 'PARKED', 'COMPENSATING')";
    /// Asks an instance to go back, as long as it can.
    INTERRUPT = "\
        update saga set interrupt = $2, wakes = wakes + 1, next_time = $3 \
        where saga_id = $1 and status in ('RUNNING', 'PARKED') and interrupt is null \
            and pivot is not null and step <= pivot";
    /// One instance.
    GET = "select * from saga where saga_id = $1";
    /// One instance, for whoever decides about it.
    LOCK = "select * from saga where saga_id = $1 {{FOR_UPDATE}}";
    /// Its log.
    ATTEMPTS = "\
        select step, undo, attempt, outcome, message, create_time from saga_step \
        where saga_id = $1 order by saga_step_id limit $2";
    /// Newest first.
    LIST = "\
        select * from saga \
        where (cast($1 as text) is null or name = $1) and (cast($2 as text) is null or status = $2) \
            and (cast($3 as bigint) is null or (create_time, saga_id) < ($3, $4)) \
        order by create_time desc, saga_id desc limit $5";
    /// A person wants the current step tried again.
    RETRY = "\
        update saga set wakes = wakes + 1, next_time = $2, attempts = 0, update_time = $2, \
            status = case when status <> 'FAILED' then status when undoing then 'COMPENSATING' else 'RUNNING' end \
        where saga_id = $1 and status in ('RUNNING', 'PARKED', 'COMPENSATING', 'FAILED')";
    /// A person has done the current step by hand.
    SKIP = "\
        update saga set wakes = wakes + 1, next_time = $2, attempts = 0, update_time = $2, directive = 'SKIP', \
            status = case when status <> 'FAILED' then status when undoing then 'COMPENSATING' else 'RUNNING' end \
        where saga_id = $1 and step = $3 and status in ('RUNNING', 'PARKED', 'COMPENSATING', 'FAILED')";
    /// What ended long ago.
    OLD = "\
        select saga_id from saga where create_time < $1 and status in ('DONE', 'COMPENSATED') \
        order by create_time limit $2";
    /// Forgets their logs.
    FORGET_STEPS = "delete from saga_step where saga_id in (select value from {{JSON_TEXTS:$1}})";
    /// Forgets them.
    FORGET = "delete from saga where saga_id in (select value from {{JSON_TEXTS:$1}})";
}

/// The longest log that is shown.
pub(super) const LOG_LINES_MAX: i64 = 1_000;
/// The longest message that is kept.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// How an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Going forward.
    Running,
    /// Waiting for an event or a moment.
    Parked,
    /// Going back.
    Compensating,
    /// Ended well.
    Done,
    /// Ended with everything taken back.
    Compensated,
    /// Stopped: a person must decide.
    Failed,
}

/// One run of a saga, as it is kept.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its id.
    pub saga_id: String,
    /// The name of its saga.
    pub name: String,
    /// The version it began with.
    pub version: i64,
    /// The index of the pivot, if there is one.
    pub pivot: Option<i64>,
    /// How it stands.
    pub status: Status,
    /// Whether it goes back.
    pub undoing: bool,
    /// The index of the step it is at; the number of steps when it is done, -1
    /// when everything was taken back.
    pub step: i64,
    /// What it knows, as JSON.
    pub state: String,
    /// How often the step has been tried since it last parked.
    pub attempts: i64,
    /// What it waits for, or what the last failure was.
    pub message: String,
    /// Why somebody asked it to go back.
    pub interrupt: Option<String>,
    /// What a person said about the current step.
    pub(super) directive: Option<String>,
    /// Who took it up last.
    pub lease_owner: String,
    /// How often it was taken up.
    pub lease_epoch: i64,
    /// Until when; `None` if nobody works on it.
    pub lease_expire_time: Option<Time>,
    /// How often it was woken.
    pub(super) wakes: i64,
    /// When it is looked at next.
    pub next_time: Time,
    /// When it gives up waiting.
    pub deadline: Option<Time>,
    /// When it began.
    pub create_time: Time,
    /// When it changed last.
    pub update_time: Time,
}

/// One line of an instance's log.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The name of the step.
    pub step: String,
    /// Whether it was to be taken back.
    pub undo: bool,
    /// Which attempt it was.
    pub attempt: i64,
    /// How it ended.
    pub outcome: String,
    /// Details for a person.
    pub message: String,
    /// When.
    pub create_time: Time,
}

/// What a save tells about what happened meanwhile.
pub(super) struct Saved {
    pub(super) wakes: i64,
    pub(super) interrupt: Option<String>,
    pub(super) directive: Option<String>,
}

// === impl Status ===

impl Status {
    /// As it is kept.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Parked => "PARKED",
            Self::Compensating => "COMPENSATING",
            Self::Done => "DONE",
            Self::Compensated => "COMPENSATED",
            Self::Failed => "FAILED",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [
            Self::Running,
            Self::Parked,
            Self::Compensating,
            Self::Done,
            Self::Compensated,
            Self::Failed,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
    }

    /// Whether nothing will change it any more, except a person a failed one.
    pub fn is_over(self) -> bool {
        match self {
            Self::Running | Self::Parked | Self::Compensating => false,
            Self::Done | Self::Compensated | Self::Failed => true,
        }
    }
}

// === impl Instance ===

impl Instance {
    /// What it knows, if it is of this form.
    pub fn state<S: serde::de::DeserializeOwned>(&self) -> Option<S> {
        serde_json::from_str(&self.state).ok()
    }

    /// Whether it can still be taken back.
    pub(super) fn is_before_pivot(&self) -> bool {
        self.pivot.is_some_and(|pivot| self.step <= pivot)
    }
}

impl FromRow for Instance {
    fn from_row(row: &Row<'_>) -> Result<Self, store::Error> {
        let status: String = row.get("status")?;
        Ok(Self {
            saga_id: row.get("saga_id")?,
            name: row.get("name")?,
            version: row.get("version")?,
            pivot: row.get("pivot")?,
            // The column has a CHECK; what it does not know is for a person.
            status: Status::parse(&status).unwrap_or(Status::Failed),
            undoing: row.get("undoing")?,
            step: row.get("step")?,
            state: row.get("state")?,
            attempts: row.get("attempts")?,
            message: row.get("message")?,
            interrupt: row.get("interrupt")?,
            directive: row.get("directive")?,
            lease_owner: row.get("lease_owner")?,
            lease_epoch: row.get("lease_epoch")?,
            lease_expire_time: row.get("lease_expire_time")?,
            wakes: row.get("wakes")?,
            next_time: row.get("next_time")?,
            deadline: row.get("deadline")?,
            create_time: row.get("create_time")?,
            update_time: row.get("update_time")?,
        })
    }
}

impl FromRow for Attempt {
    fn from_row(row: &Row<'_>) -> Result<Self, store::Error> {
        Ok(Self {
            step: row.get("step")?,
            undo: row.get("undo")?,
            attempt: row.get("attempt")?,
            outcome: row.get("outcome")?,
            message: row.get("message")?,
            create_time: row.get("create_time")?,
        })
    }
}

impl FromRow for Saved {
    fn from_row(row: &Row<'_>) -> Result<Self, store::Error> {
        Ok(Self {
            wakes: row.get("wakes")?,
            interrupt: row.get("interrupt")?,
            directive: row.get("directive")?,
        })
    }
}

/// Writes one line of the log.
pub(super) async fn log(tx: &mut Tx, saga_id: &str, line: &Attempt) -> Result<(), store::Error> {
    let message: String = line.message.chars().take(MESSAGE_CHARS_MAX).collect();
    tx.execute(
        LOG,
        args![
            saga_id,
            line.step.as_str(),
            line.undo,
            line.attempt,
            line.outcome.as_str(),
            message,
            line.create_time
        ],
    )
    .await?;
    Ok(())
}
