//! Doors for the fuzz targets of `core/fuzz`: the readers of what others wrote, without the files and servers around.

pub use crate::connect::{password_file, service_file};
pub use crate::message::{binary_message_of as binary_message, text_message_of as text_message};
pub use crate::value::decode_as as decode;
