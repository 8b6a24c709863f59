//! Whatever happens, in whatever order: the tables are kept and no money is
//! made or lost.

use proptest::prelude::*;

use super::*;

const NOW: Time = Time::from_micros(1_767_225_600_000_000);

/// One thing that can happen to a payment.
#[derive(Debug, Clone)]
enum Event {
    Confirm,
    Capture(Option<i64>),
    Cancel,
    Answer,
    Tell(ChargeState, i64, i64),
    Lose,
    Refuse,
    Refund(Option<i64>),
    Settle(bool),
}

struct World {
    intent: Intent,
    attempts: Vec<Attempt>,
    refunds: Vec<Refund>,
    postings: Vec<Posting>,
}

fn eur() -> Currency {
    Currency::new("EUR").unwrap()
}

fn intent(capture_method: CaptureMethod) -> Intent {
    Intent {
        id: "i".into(),
        operation: "o".into(),
        order_id: "order".into(),
        customer_id: "customer".into(),
        currency: eur(),
        amount: 1_000,
        capture_method,
        status: IntentStatus::RequiresPaymentMethod,
        payment_method: None,
        return_uri: None,
        authorized: 0,
        captured: 0,
        refunded: 0,
        refund_pending: 0,
        attempt_id: None,
        attempt_count: 0,
        action: None,
        authorization_expire_time: None,
        error: None,
        cancellation_reason: None,
        version: 1,
        create_time: NOW,
        update_time: NOW,
    }
}

fn charge(state: ChargeState, amount: i64, captured: i64) -> Charge {
    Charge {
        reference: "r".into(),
        state,
        amount,
        currency: "EUR".into(),
        captured,
        action: None,
        expire_time: None,
        failure: None,
    }
}

impl World {
    fn new(capture_method: CaptureMethod) -> Self {
        Self { intent: intent(capture_method), attempts: vec![], refunds: vec![], postings: vec![] }
    }

    fn happen(&mut self, event: Event) -> Result<(), Error> {
        let operation = String::new();
        let change = match event {
            Event::Confirm => {
                let given = Confirmation {
                    attempt_id: format!("a{}", self.attempts.len()),
                    operation,
                    provider: "p".into(),
                    payment_method: Some("pm".into()),
                    return_uri: None,
                };
                let attempt = confirm(&mut self.intent, self.attempts.last(), given, NOW)?;
                self.attempts.push(attempt);
                Change::quiet()
            }
            Event::Capture(amount) => {
                let amount = amount.map(|minor| Money::new(minor, eur()));
                let Some(attempt) = self.attempts.last_mut() else { return Ok(()) };
                capture(&mut self.intent, attempt, amount, operation, NOW)?;
                Change::quiet()
            }
            Event::Cancel => {
                let reason = CancellationReason::Requested;
                match cancel(&mut self.intent, self.attempts.last_mut(), reason, operation, NOW)? {
                    Cancel::Already | Cancel::Void => Change::quiet(),
                    Cancel::Done(change) => change,
                }
            }
            Event::Answer => {
                let Some(attempt) = self.attempts.last_mut() else { return Ok(()) };
                answer(&mut self.intent, attempt, operation, NOW)?;
                Change::quiet()
            }
            Event::Tell(state, amount, captured) => {
                let Some(attempt) = self.attempts.last_mut() else { return Ok(()) };
                learn(&mut self.intent, attempt, &charge(state, amount, captured), NOW)?
            }
            Event::Lose => {
                let Some(attempt) = self.attempts.last_mut() else { return Ok(()) };
                lose(&mut self.intent, attempt, NOW)?
            }
            Event::Refuse => {
                let Some(attempt) = self.attempts.last_mut() else { return Ok(()) };
                refuse(&mut self.intent, attempt, Failure::own(DeclineCode::CardDeclined), NOW)?
            }
            Event::Refund(amount) => {
                let amount = amount.map(|minor| Money::new(minor, eur()));
                let refund_id = format!("r{}", self.refunds.len());
                let given =
                    RefundRequest { refund_id, operation, amount, reason: RefundReason::Requested };
                let refund = start(&mut self.intent, given, NOW)?;
                self.refunds.push(refund);
                Change::quiet()
            }
            Event::Settle(paid) => {
                let Some(refund) = self.refunds.last_mut() else { return Ok(()) };
                let report = RefundReport {
                    reference: "r".into(),
                    outcome: if paid {
                        Ok(())
                    } else {
                        Err(Failure::own(DeclineCode::RefundRefused))
                    },
                    amount: refund.amount,
                    currency: "EUR".into(),
                };
                let posting =
                    settle(&mut self.intent, refund, &report).and_then(|(posting, _)| posting);
                self.postings.extend(posting);
                return Ok(());
            }
        };
        self.postings.extend(change.postings);
        Ok(())
    }

    /// Debits minus credits of an account.
    fn balance(&self, account: Account) -> i64 {
        self.postings
            .iter()
            .map(|posting| match posting.kind.accounts() {
                (debit, _) if debit == account => posting.amount,
                (_, credit) if credit == account => -posting.amount,
                _ => 0,
            })
            .sum()
    }

    fn check(&self) {
        let intent = &self.intent;
        assert!(intent.authorized <= intent.amount, "{intent:?}");
        assert!(intent.captured <= intent.authorized, "{intent:?}");
        assert!(intent.refunded + intent.refund_pending <= intent.captured, "{intent:?}");
        assert!(intent.refunded >= 0 && intent.refund_pending >= 0, "{intent:?}");
        assert_eq!(Account::ALL.iter().map(|account| self.balance(*account)).sum::<i64>(), 0);
        assert_eq!(self.balance(Account::ProviderClearing), intent.captured - intent.refunded);
        let settled = intent.status.is_final();
        if settled {
            assert_eq!(self.balance(Account::AuthorizationHold), 0, "{intent:?}");
        }
        let alive =
            self.attempts.iter().filter(|attempt| attempt.state.question().is_some()).count();
        assert!(alive <= 1, "{:?}", self.attempts);
    }
}

fn events() -> impl Strategy<Value = Event> {
    let state = prop_oneof![
        1 => Just(ChargeState::ActionRequired),
        1 => Just(ChargeState::Processing),
        4 => Just(ChargeState::Authorized),
        2 => Just(ChargeState::Captured),
        1 => Just(ChargeState::Declined),
        1 => Just(ChargeState::Voided),
    ];
    let some = prop_oneof![Just(None), (-5_i64..1_200).prop_map(Some)];
    prop_oneof![
        3 => Just(Event::Confirm),
        2 => some.clone().prop_map(Event::Capture),
        1 => Just(Event::Cancel),
        1 => Just(Event::Answer),
        6 => (state, prop_oneof![9 => Just(1_000_i64), 1 => 0_i64..2_000], prop_oneof![Just(1_000_i64), 0_i64..2_000])
            .prop_map(|(state, amount, captured)| Event::Tell(state, amount, captured)),
        1 => Just(Event::Lose),
        1 => Just(Event::Refuse),
        2 => some.prop_map(Event::Refund),
        2 => any::<bool>().prop_map(Event::Settle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_order_of_events_leaves_the_tables_or_loses_money(
        automatic in any::<bool>(),
        story in prop::collection::vec(events(), 1..60),
    ) {
        let method = if automatic { CaptureMethod::Automatic } else { CaptureMethod::Manual };
        let mut world = World::new(method);
        for event in story {
            let (status, before) = (world.intent.status, world.attempts.clone());
            if let Err(Error::IllegalStep { from, to }) = world.happen(event.clone()) {
                panic!("{event:?} made {from} become {to}");
            }
            let next = world.intent.status;
            // An answer to a challenge may settle at once, by way of PROCESSING.
            prop_assert!(status == next || status.leads_to(next), "{event:?}: {status:?} -> {next:?}");
            for (old, new) in before.iter().zip(&world.attempts) {
                prop_assert!(old.state == new.state || old.state.leads_to(new.state), "{event:?}");
            }
            world.check();
        }
    }
}

#[test]
fn a_late_processing_after_a_success_changes_nothing() {
    let mut world = World::new(CaptureMethod::Manual);
    world.happen(Event::Confirm).unwrap();
    world.happen(Event::Tell(ChargeState::Authorized, 1_000, 0)).unwrap();
    let (intent, attempts) = (world.intent.clone(), world.attempts.clone());

    world.happen(Event::Tell(ChargeState::Processing, 1_000, 0)).unwrap();

    assert_eq!((world.intent, world.attempts), (intent, attempts));
}

#[test]
fn a_lost_answer_is_unknown_and_only_the_provider_ends_it() {
    let mut world = World::new(CaptureMethod::Manual);
    world.happen(Event::Confirm).unwrap();
    world.happen(Event::Lose).unwrap();
    assert_eq!(world.intent.status, IntentStatus::Unknown);
    assert!(matches!(world.happen(Event::Confirm), Err(Error::OutcomeUnknown)));

    world.happen(Event::Tell(ChargeState::Authorized, 1_000, 0)).unwrap();

    assert_eq!(world.intent.status, IntentStatus::RequiresCapture);
}

#[test]
fn what_was_held_stays_held_after_a_lost_and_refused_void() {
    let mut world = World::new(CaptureMethod::Manual);
    world.happen(Event::Confirm).unwrap();
    world.happen(Event::Tell(ChargeState::Authorized, 1_000, 0)).unwrap();
    world.happen(Event::Cancel).unwrap();
    world.happen(Event::Lose).unwrap();
    world.happen(Event::Refuse).unwrap();
    world.happen(Event::Tell(ChargeState::ActionRequired, 1_000, 0)).unwrap();
    assert_eq!(world.intent.status, IntentStatus::Unknown);

    world.happen(Event::Tell(ChargeState::Authorized, 1_000, 0)).unwrap();

    assert_eq!(world.intent.status, IntentStatus::RequiresCapture);
    assert_eq!(world.balance(Account::AuthorizationHold), 1_000);
}

#[test]
fn an_answer_for_another_amount_is_a_conflict_and_moves_no_money() {
    let mut world = World::new(CaptureMethod::Manual);
    world.happen(Event::Confirm).unwrap();
    world.happen(Event::Tell(ChargeState::Authorized, 1_001, 0)).unwrap();

    assert_eq!(world.intent.status, IntentStatus::Conflicted);
    assert_eq!((world.intent.authorized, world.postings.len()), (0, 0));
}

#[test]
fn the_schedule_ends_in_its_last_step() {
    assert_eq!(sync_delay(0), Duration::from_secs(10));
    assert_eq!(sync_delay(5), Duration::from_secs(6 * 60 * 60));
    assert_eq!(sync_delay(500), Duration::from_secs(6 * 60 * 60));
}
