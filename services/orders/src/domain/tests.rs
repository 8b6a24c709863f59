//! The rules, exhaustively: random commands never leave the tables.

use chassis::{Currency, Time};
use contracts::orders::v1::{
    CancelReason, FulfillmentStatus, OrderStatus, OwnerKind, PaymentStatus,
};
use proptest::prelude::*;

use super::{
    states::{FULFILLMENT_EDGES, Named, PAYMENT_EDGES, STATUS_EDGES, is_final, may},
    *,
};

const NOW: Time = Time::from_micros(1_767_225_600_000_000);

fn order(quantities: &[i64]) -> Order {
    let lines: Vec<Line> = quantities
        .iter()
        .enumerate()
        .map(|(index, quantity)| Line {
            sku: format!("sku-{index}"),
            product_id: String::new(),
            variant_id: String::new(),
            title: String::new(),
            quantity: *quantity,
            unit_price: 100,
            subtotal: 100 * quantity,
            tax_rate_micros: 0,
            tax: 0,
            total: 100 * quantity,
            price_version: String::new(),
            shipping: 0,
            shipped: 0,
        })
        .collect();
    let subtotal = lines.iter().map(|line| line.subtotal).sum();
    let draft = Draft {
        placement_id: String::new(),
        checkout_id: String::new(),
        owner_id: "alice".to_owned(),
        owner_kind: OwnerKind::Customer,
        email: String::new(),
        lines,
        totals: Totals {
            currency: Currency::new("EUR").unwrap(),
            subtotal,
            shipping: 0,
            tax: 0,
            total: subtotal,
        },
        shipping_address: contracts::values::v1::PostalAddress::default(),
        billing_address: None,
        shipping: None,
        payment_method: String::new(),
        return_uri: String::new(),
        quote_hash: String::new(),
    };
    Order::begin(draft, "o".to_owned(), "M1".to_owned(), NOW)
}

#[derive(Debug, Clone)]
enum Command {
    Confirm,
    Capture,
    Void,
    Refund(i64),
    Hold,
    Release,
    RequestCancel,
    Cancel,
    Pack(usize, i64),
    Unpack,
    Ship,
    Complete,
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(Command::Confirm),
        Just(Command::Capture),
        Just(Command::Void),
        (1_i64..1_500).prop_map(Command::Refund),
        Just(Command::Hold),
        Just(Command::Release),
        Just(Command::RequestCancel),
        Just(Command::Cancel),
        (0_usize..4, 1_i64..6).prop_map(|(line, units)| Command::Pack(line, units)),
        Just(Command::Unpack),
        Just(Command::Ship),
        Just(Command::Complete),
    ]
}

fn obey(order: &mut Order, packed: &mut Vec<Parcel>, command: &Command) {
    match command {
        Command::Confirm => drop(order.confirm("pi", "re", NOW)),
        Command::Capture => drop(order.captured()),
        Command::Void => drop(order.voided()),
        Command::Refund(minor) => drop(order.refunded(*minor)),
        Command::Hold => drop(order.hold("")),
        Command::Release => drop(order.release("")),
        Command::RequestCancel => drop(order.request_cancel(CancelReason::Customer, "", NOW)),
        Command::Cancel => drop(order.cancel(CancelReason::Staff, "", NOW)),
        Command::Pack(line, units) if packed.is_empty() => {
            let wanted = vec![Parcel { sku: format!("sku-{line}"), quantity: *units }];
            if let Ok(parcel) = order.pack(wanted) {
                *packed = parcel;
            }
        }
        Command::Pack(..) => {}
        Command::Unpack => order.unpack(&std::mem::take(packed)),
        Command::Ship => {
            let parcel = std::mem::take(packed);
            if !parcel.is_empty() {
                order.ship(&parcel, "");
            }
        }
        Command::Complete => drop(order.complete(NOW)),
    }
}

proptest! {
    #[test]
    fn no_sequence_of_commands_leaves_the_tables(
        quantities in prop::collection::vec(1_i64..5, 1..4),
        commands in prop::collection::vec(command(), 0..40),
    ) {
        let mut order = order(&quantities);
        let mut packed = Vec::new();
        for command in &commands {
            let before = (order.status, order.payment_status, order.fulfillment_status);
            obey(&mut order, &mut packed, command);

            prop_assert!(may(STATUS_EDGES, before.0, order.status), "{command:?}: {before:?}");
            // A refund proves the capture of which nobody told.
            let captured_silently = before.1 == PaymentStatus::Authorized
                && may(PAYMENT_EDGES, PaymentStatus::Captured, order.payment_status);
            prop_assert!(may(PAYMENT_EDGES, before.1, order.payment_status) || captured_silently, "{command:?}");
            prop_assert!(may(FULFILLMENT_EDGES, before.2, order.fulfillment_status), "{command:?}: {before:?}");
            if is_final(before.0) {
                prop_assert_eq!(before.0, order.status, "nothing follows a final state");
            }
            for line in &order.lines {
                prop_assert!(line.shipping >= 0 && line.shipped >= 0);
                prop_assert!(line.shipping + line.shipped <= line.quantity, "shipped more than was bought");
            }
            prop_assert!((0..=order.totals.total).contains(&order.refunded));
            if order.status == OrderStatus::Cancelled {
                prop_assert_eq!(order.fulfillment_status, FulfillmentStatus::Unfulfilled);
            }
            if order.status == OrderStatus::Completed {
                prop_assert_eq!(order.fulfillment_status, FulfillmentStatus::Shipped);
            }
        }
    }

    #[test]
    fn a_draft_is_accepted_only_if_it_adds_up(
        unit in 0_i64..1_000_000, quantity in 1_i64..1_000, rate in 0_i64..=1_000_000, off in -2_i64..=2,
    ) {
        let currency = Currency::new("EUR").unwrap();
        let money = |minor| Some(chassis::Money::new(minor, currency).into());
        let subtotal = unit * quantity;
        let tax = chassis::Money::new(subtotal, currency).share(rate).unwrap().minor;
        let request = contracts::orders::v1::PlaceOrderRequest {
            lines: vec![contracts::orders::v1::OrderLine {
                sku: "sku".to_owned(),
                quantity,
                unit_price: money(unit),
                subtotal: money(subtotal),
                tax_rate_micros: rate,
                tax: money(tax),
                total: money(subtotal + tax),
                ..Default::default()
            }],
            totals: Some(contracts::orders::v1::OrderTotals {
                subtotal: money(subtotal),
                shipping: money(0),
                tax: money(tax),
                total: money(subtotal + tax + off),
            }),
            ..Default::default()
        };
        prop_assert_eq!(Draft::try_from(request).is_ok(), off == 0);
    }
}

#[test]
fn every_state_has_a_name_that_leads_back_to_it() {
    fn check<S: Named>(highest: i32) {
        for number in 0..=highest {
            let Ok(state) = S::try_from(number) else { panic!("{number} is no state") };
            assert_eq!(S::parse(state.name()), Some(state));
        }
    }
    check::<OrderStatus>(5);
    check::<PaymentStatus>(6);
    check::<FulfillmentStatus>(3);
    check::<CancelReason>(7);
    check::<OwnerKind>(2);
}

#[test]
fn no_edge_leaves_a_final_state() {
    assert!(STATUS_EDGES.iter().all(|(from, _)| !is_final(*from)));
}

#[test]
fn an_order_is_complete_when_it_is_shipped_and_paid_in_either_order() {
    for ship_first in [true, false] {
        let mut order = order(&[2]);
        order.confirm("pi", "re", NOW).unwrap();
        let parcel = order.pack(Vec::new()).unwrap();
        assert!(order.complete(NOW).is_none());
        if ship_first {
            order.ship(&parcel, "");
            assert!(order.complete(NOW).is_none());
            order.captured().unwrap();
        } else {
            order.captured().unwrap();
            assert!(order.complete(NOW).is_none());
            order.ship(&parcel, "");
        }
        assert!(order.complete(NOW).is_some());
    }
}
