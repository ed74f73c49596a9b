//! Connections: settings, the socket, transactions, notifications. The only place that opens a socket.

mod connection;
mod session;
mod settings;

pub use connection::{Connection, TransactionStatus};
pub use session::Notification;
pub use settings::Settings;
