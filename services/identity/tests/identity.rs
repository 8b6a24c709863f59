//! Identity over a real socket and a real database.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed, and says where"
)]

#[path = "identity/access.rs"]
mod access;
#[path = "identity/address.rs"]
mod address;
#[path = "identity/login.rs"]
mod login;
#[path = "identity/session.rs"]
mod session;
#[path = "identity/token.rs"]
mod token;
#[path = "identity/user.rs"]
mod user;

use chassis::Service as _;
use contracts::{
    identity::v1::{
        ErrorReason, IssueGuestTokenRequest, IssueGuestTokenResponse, LoginRequest, LoginResponse,
        RefreshTokenRequest, RefreshTokenResponse, RegisterRequest, RegisterResponse, Tokens, User,
        access_service_client::AccessServiceClient, auth_service_client::AuthServiceClient,
        user_service_client::UserServiceClient,
    },
    mesh::v1::{PullEventsRequest, feed_service_client::FeedServiceClient},
};
use identity::Identity;
use testkit::{As, Fixture};
use tonic::Status;

const PASSWORD: &str = "correct horse battery";
const ADMIN_EMAIL: &str = "admin@example.com";
const ADMIN_PASSWORD: &str = "keys to everything";

/// The service with cheap hashes, and the clients that the tests need.
struct Shop {
    fixture: Fixture<Identity>,
}

impl Shop {
    async fn open() -> Self {
        Self::with(serde_json::json!({})).await
    }

    /// With settings beside the cheap hashes and the first administrator.
    async fn with(mut settings: serde_json::Value) -> Self {
        let table = settings.as_object_mut().unwrap();
        for (key, value) in [("argon2_memory_kib", 64), ("argon2_passes", 1)] {
            table.entry(key).or_insert(value.into());
        }
        table.insert("admin_email".to_owned(), ADMIN_EMAIL.into());
        table.insert("admin_password".to_owned(), ADMIN_PASSWORD.into());
        Self { fixture: testkit::service::<Identity>().config(settings).start().await }
    }

    fn auth(&self) -> AuthServiceClient<As> {
        AuthServiceClient::new(self.fixture.anonymous())
    }

    fn auth_as(&self, tokens: &Tokens) -> AuthServiceClient<As> {
        AuthServiceClient::new(self.fixture.with_token(&tokens.access_token))
    }

    fn users_as(&self, tokens: &Tokens) -> UserServiceClient<As> {
        UserServiceClient::new(self.fixture.with_token(&tokens.access_token))
    }

    fn access_as(&self, tokens: &Tokens) -> AccessServiceClient<As> {
        AccessServiceClient::new(self.fixture.with_token(&tokens.access_token))
    }

    /// Registers somebody with [`PASSWORD`].
    async fn register(&self, email: &str) -> (User, Tokens) {
        let request = RegisterRequest {
            email: email.to_owned(),
            password: PASSWORD.to_owned(),
            display_name: "Ada".to_owned(),
            ..RegisterRequest::default()
        };
        let RegisterResponse { user, tokens } =
            self.auth().register(request).await.unwrap().into_inner();
        (user.unwrap(), tokens.unwrap())
    }

    async fn login(&self, email: &str, password: &str) -> Result<LoginResponse, Status> {
        let request = LoginRequest {
            email: email.to_owned(),
            password: password.to_owned(),
            ..LoginRequest::default()
        };
        self.auth().login(request).await.map(tonic::Response::into_inner)
    }

    async fn admin(&self) -> Tokens {
        self.login(ADMIN_EMAIL, ADMIN_PASSWORD).await.unwrap().tokens.unwrap()
    }

    async fn guest(&self) -> (String, Tokens) {
        let response =
            self.auth().issue_guest_token(IssueGuestTokenRequest::default()).await.unwrap();
        let IssueGuestTokenResponse { guest_id, tokens } = response.into_inner();
        (guest_id, tokens.unwrap())
    }

    async fn refresh(&self, tokens: &Tokens) -> Result<Tokens, Status> {
        let request = RefreshTokenRequest {
            refresh_token: tokens.refresh_token.clone(),
            ..RefreshTokenRequest::default()
        };
        let RefreshTokenResponse { tokens } =
            self.auth().refresh_token(request).await?.into_inner();
        Ok(tokens.unwrap())
    }

    /// The types of the events that were told, without their package, in order.
    async fn events(&self) -> Vec<String> {
        let mut feed = FeedServiceClient::new(self.fixture.as_service("orders"));
        let request = PullEventsRequest { limit: 1_000, ..PullEventsRequest::default() };
        let events = feed.pull_events(request).await.unwrap().into_inner().events;
        let kinds = events.into_iter().filter_map(|event| event.event).map(|event| event.r#type);
        kinds.map(|kind| kind.rsplit('.').next().unwrap_or_default().to_owned()).collect()
    }
}

/// Asserts why somebody was refused.
#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, reason: ErrorReason) -> Status {
    let status = answer.expect_err("this should have been refused");
    let expected = reason.as_str_name().trim_start_matches("ERROR_REASON_");
    assert_eq!(testkit::reason(&status), expected, "{status:?}");
    status
}

#[tokio::test]
async fn every_statement_is_understood_by_the_engine() {
    let shop = Shop::open().await;
    let refused = shop.fixture.running().database().prepare_all(Identity::STATEMENTS).await;
    assert!(refused.is_ok(), "{refused:?}");
}

#[test]
fn every_reason_is_provoked_by_a_test() {
    let tests = [
        include_str!("identity/access.rs"),
        include_str!("identity/address.rs"),
        include_str!("identity/login.rs"),
        include_str!("identity/session.rs"),
        include_str!("identity/token.rs"),
        include_str!("identity/user.rs"),
    ]
    .concat();
    for reason in (1..).map_while(|number| ErrorReason::try_from(number).ok()) {
        assert!(
            tests.contains(&format!("ErrorReason::{reason:?}")),
            "{reason:?} is provoked by no test"
        );
    }
}
