//! Connections: settings, the socket, transactions, notifications. The only place that opens a socket.

mod ahead;
mod connection;
#[cfg_attr(not(target_os = "linux"), path = "crew_portable.rs")]
mod crew;
mod dial;
mod login;
mod prepared;
mod raw;
mod role;
mod session;
mod settings;
mod socket;
mod state;
mod statement;
#[cfg_attr(not(target_os = "linux"), path = "stream_portable.rs")]
mod stream;
mod tls;
mod to_the_end;
mod transaction;
mod wheel;
mod wire;

pub(crate) use ahead::sending_ahead;
pub use connection::Connection;
pub use session::Notification;
pub(crate) use session::Pulse;
pub use settings::Settings;
#[cfg(feature = "fuzzing")]
pub use settings::fuzzing::{password_file, service_file};
pub use state::TransactionStatus;
pub use transaction::Scope;
