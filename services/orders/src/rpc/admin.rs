//! A window into the sagas, and what a person may decide there.

use chassis::{
    Caller, Time,
    saga::{Attempt, Decision, Instance, Sagas, Status as State},
    store::Tx,
};
use contracts::orders::v1::{
    ForceCompensateRequest, GetSagaRequest, ListSagasRequest, ListSagasResponse, OrderEventKind,
    ResolveUnknownRequest, ResolvedOutcome, RetryStepRequest, Saga, SagaAttempt, SagaStatus,
    SkipStepRequest, saga_admin_service_server::SagaAdminService,
};
use serde::Deserialize;
use tonic::{Request, Response, Status};

use super::Rpc;
use crate::{Error, domain::Happening, store};

/// The part of every saga's state that says which order it is about.
#[derive(Debug, Deserialize)]
struct About {
    order_id: String,
}

#[tonic::async_trait]
impl SagaAdminService for Rpc {
    async fn list_sagas(
        &self,
        request: Request<ListSagasRequest>,
    ) -> Result<Response<ListSagasResponse>, Status> {
        Ok(Response::new(self.sagas_page(request.get_ref()).await?))
    }

    async fn get_saga(&self, request: Request<GetSagaRequest>) -> Result<Response<Saga>, Status> {
        let id = &request.get_ref().saga_id;
        let found = self.sagas.get(id).await?.ok_or_else(|| Error::SagaNotFound(id.clone()))?;
        let log = self.sagas.log(id).await?;
        Ok(Response::new(message(&self.sagas, &found, log)))
    }

    async fn retry_step(
        &self,
        request: Request<RetryStepRequest>,
    ) -> Result<Response<Saga>, Status> {
        let (sagas, actor) = (self.sagas.clone(), Caller::of(&request).actor());
        let id = request.get_ref().saga_id.clone();
        let response = self
            .database
            .once(&request, move |tx, request| {
                Box::pin(async move {
                    let decision = sagas.retry(tx, &request.saga_id, &actor).await?;
                    decided(tx, &sagas, decision, &request.saga_id, &actor, "try the step again")
                        .await
                })
            })
            .await?;
        self.sagas.nudge(&id);
        Ok(response)
    }

    async fn skip_step(&self, request: Request<SkipStepRequest>) -> Result<Response<Saga>, Status> {
        let (sagas, actor) = (self.sagas.clone(), Caller::of(&request).actor());
        let id = request.get_ref().saga_id.clone();
        let response = self
            .database
            .once(&request, move |tx, request| {
                Box::pin(async move {
                    let (step, evidence) = (&request.step, &request.evidence);
                    let decision = sagas.skip(tx, &request.saga_id, step, &actor, evidence).await?;
                    let said = format!("{step} was done by hand: {evidence}");
                    decided(tx, &sagas, decision, &request.saga_id, &actor, &said).await
                })
            })
            .await?;
        self.sagas.nudge(&id);
        Ok(response)
    }

    async fn force_compensate(
        &self,
        request: Request<ForceCompensateRequest>,
    ) -> Result<Response<Saga>, Status> {
        let (sagas, actor) = (self.sagas.clone(), Caller::of(&request).actor());
        let id = request.get_ref().saga_id.clone();
        let response = self
            .database
            .once(&request, move |tx, request| {
                Box::pin(async move {
                    let decision =
                        sagas.force_back(tx, &request.saga_id, &actor, &request.reason).await?;
                    let said = format!("take everything back: {}", request.reason);
                    decided(tx, &sagas, decision, &request.saga_id, &actor, &said).await
                })
            })
            .await?;
        self.sagas.nudge(&id);
        Ok(response)
    }

    async fn resolve_unknown(
        &self,
        request: Request<ResolveUnknownRequest>,
    ) -> Result<Response<Saga>, Status> {
        let (sagas, actor) = (self.sagas.clone(), Caller::of(&request).actor());
        let id = request.get_ref().saga_id.clone();
        let response = self
            .database
            .once(&request, move |tx, request| {
                Box::pin(async move {
                    let succeeded = request.outcome() == ResolvedOutcome::Succeeded;
                    let decision = sagas
                        .resolve(tx, &request.saga_id, succeeded, &actor, &request.evidence)
                        .await?;
                    let said = format!(
                        "it {}: {}",
                        if succeeded { "took effect" } else { "failed" },
                        request.evidence
                    );
                    decided(tx, &sagas, decision, &request.saga_id, &actor, &said).await
                })
            })
            .await?;
        self.sagas.nudge(&id);
        Ok(response)
    }
}

impl Rpc {
    async fn sagas_page(&self, request: &ListSagasRequest) -> Result<ListSagasResponse, Error> {
        let status = state_of(request.status());
        let parts = [request.definition.as_str(), status.map(State::as_str).unwrap_or_default()];
        let page = self.pages.page(request.page_size, &request.page_token, &parts)?;
        let name = (!request.definition.is_empty()).then_some(request.definition.as_str());
        let found = self.sagas.list(name, status, page.after(), page.limit()).await?;
        let (found, next_page_token) =
            page.finish(found, |last| (last.create_time.micros(), last.saga_id.clone()));
        let sagas =
            found.iter().map(|instance| message(&self.sagas, instance, Vec::new())).collect();
        Ok(ListSagasResponse { sagas, next_page_token })
    }
}

/// The answer to a decision, which the order's timeline remembers too.
async fn decided(
    tx: &mut Tx,
    sagas: &Sagas,
    decision: Decision,
    saga_id: &str,
    actor: &str,
    said: &str,
) -> Result<Saga, Error> {
    Error::of_decision(decision, saga_id)?;
    let (instance, log) =
        sagas.read(tx, saga_id).await?.ok_or_else(|| Error::SagaNotFound(saga_id.to_owned()))?;
    if let Some(About { order_id }) = instance.state::<About>()
        && let Some(order) = store::lock_order(tx, &order_id, None).await?
    {
        let happened = Happening {
            kind: OrderEventKind::SagaDecided,
            message: format!("{}: {said}", instance.name),
            internal: true,
        };
        store::insert_event(tx, &order, &happened, actor).await?;
    }
    Ok(message(sagas, &instance, log))
}

fn message(sagas: &Sagas, instance: &Instance, log: Vec<Attempt>) -> Saga {
    Saga {
        saga_id: instance.saga_id.clone(),
        definition: instance.name.clone(),
        version: instance.version,
        status: status_of(instance.status).into(),
        step: sagas.step_name(instance).to_owned(),
        attempts: instance.attempts,
        message: instance.message.clone(),
        lease_owner: instance
            .lease_expire_time
            .map(|_| instance.lease_owner.clone())
            .unwrap_or_default(),
        create_time: Some(instance.create_time.into()),
        update_time: Some(instance.update_time.into()),
        next_time: Some(instance.next_time.into()),
        deadline_time: instance.deadline.map(Time::timestamp),
        log: log
            .into_iter()
            .map(|line| SagaAttempt {
                step: line.step,
                undo: line.undo,
                attempt: line.attempt,
                outcome: line.outcome,
                message: line.message,
                create_time: Some(line.create_time.into()),
            })
            .collect(),
    }
}

fn status_of(status: State) -> SagaStatus {
    match status {
        State::Running => SagaStatus::Running,
        State::Parked => SagaStatus::Parked,
        State::Compensating => SagaStatus::Compensating,
        State::Done => SagaStatus::Done,
        State::Compensated => SagaStatus::Compensated,
        State::Failed => SagaStatus::Failed,
    }
}

fn state_of(status: SagaStatus) -> Option<State> {
    match status {
        SagaStatus::Unspecified => None,
        SagaStatus::Running => Some(State::Running),
        SagaStatus::Parked => Some(State::Parked),
        SagaStatus::Compensating => Some(State::Compensating),
        SagaStatus::Done => Some(State::Done),
        SagaStatus::Compensated => Some(State::Compensated),
        SagaStatus::Failed => Some(State::Failed),
    }
}
