//! Who there is: accounts, users, roles, their policies, and sessions of them.
//!
//! [`Identities`] finds who signed a request ([`Identities::admit`]) and what that caller may do
//! ([`Identities::authorize`]). A key of the account itself needs no policy and costs one look-up. Sessions are
//! stateless: what one is stands in its token, sealed with a key that every frontend reads from the store.
//!
//! Invariants: a secret never appears in an error, a log line or a `Debug`; a session ends with its time, and with the
//! user or role it is of.

mod caller;
mod find;
mod records;
mod session;

pub use caller::{Caller, Identity};
pub use find::{Admitted, Identities, Refused};
pub(crate) use find::{role_name, trusts_lambda};
pub use records::{Account, CustomPolicy, Policies, Role, User, new_id};
pub use session::{Session, SessionCredentials, Sessions, Subject, TOKEN_MAX_BYTES, TokenError};

/// The account that every platform starts with, and that runs it.
pub const FIRST_ACCOUNT: &str = "000000000000";
