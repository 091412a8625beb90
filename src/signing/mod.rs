//! Signed orders to fail over: the keys of vantages (Ed25519, RFC 8032), the bytes that they sign, and the list of
//! signatures that an order carries. The daemon and receivers use the same code.

mod key;
mod order;
mod public_keys;

pub use self::{
    key::{InvalidKey, PrivateKey, PublicKey},
    order::{Order, SignatureList},
    public_keys::PublicKeys,
};
