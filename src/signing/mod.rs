//! Signed orders to fail over: the keys of vantages (Ed25519, RFC 8032), the bytes that they sign, and the list of
//! signatures that an order carries. The daemon and receivers use the same code.

mod command;
mod key;
mod operators;
mod order;
mod public_keys;

pub(crate) use self::order::{decode_signature, encode_signature};
pub use self::{
    command::{Action, COMMAND_HEADER, Command, FailoverTerms},
    key::{InvalidKey, PrivateKey, PublicKey},
    operators::Operators,
    order::{Order, SignatureList},
    public_keys::{PublicKeys, SignatureResult},
};

#[doc(hidden)]
pub mod hostile {
    //! The parser that sees what anyone can add to Alertmanager, for the fuzz targets.
    pub use super::order::fuzz_signatures;
}
