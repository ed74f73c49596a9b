//! Connections: settings, the socket, transactions, notifications. The only place that opens a socket.

mod connection;
mod dial;
mod login;
mod role;
mod session;
mod settings;
mod socket;
mod statement;
mod tls;
mod wire;

pub use connection::{Connection, TransactionStatus};
pub use session::Notification;
pub(crate) use session::Pulse;
pub use settings::Settings;
#[cfg(feature = "fuzzing")]
pub use settings::fuzzing::{password_file, service_file};
