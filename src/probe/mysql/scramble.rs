//! What stands for a password in a login, so that only who knows it can send it.

use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// What the server has chosen at random for this login.
pub(super) type Salt = [u8; 20];

/// A way to log in that a server asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// `mysql_native_password`, the default of MariaDB and of MySQL 5.7.
    Native,
    /// `caching_sha2_password`, the default of MySQL 8.
    CachingSha2,
    /// The password as it is: `mysql_clear_password` and, over TLS, `sha256_password`.
    Cleartext,
    /// Those that we do not have, such as Kerberos, `client_ed25519` and `parsec`.
    Other,
}

impl Method {
    /// The method of this name.
    pub(super) const fn named(name: &[u8]) -> Self {
        match name {
            b"mysql_native_password" => Self::Native,
            b"caching_sha2_password" => Self::CachingSha2,
            b"mysql_clear_password" | b"sha256_password" => Self::Cleartext,
            _ => Self::Other,
        }
    }

    /// The name of one that a login can begin with.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::CachingSha2 => "caching_sha2_password",
            _ => "mysql_native_password",
        }
    }
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(left, right)| left ^ right).collect()
}

fn hash(algorithm: &'static Algorithm, parts: &[&[u8]]) -> Vec<u8> {
    digest(algorithm, &parts.concat()).as_ref().to_vec()
}

/// `SHA1(password) XOR SHA1(salt, SHA1(SHA1(password)))`.
pub(super) fn native(password: &[u8], salt: &Salt) -> Vec<u8> {
    let sha1 = |parts: &[&[u8]]| hash(&SHA1_FOR_LEGACY_USE_ONLY, parts);
    let once = sha1(&[password]);
    xor(&once, &sha1(&[salt, &sha1(&[&once])]))
}

/// `SHA256(password) XOR SHA256(SHA256(SHA256(password)), salt)`.
pub(super) fn caching_sha2(password: &[u8], salt: &Salt) -> Vec<u8> {
    let sha256 = |parts: &[&[u8]]| hash(&SHA256, parts);
    let once = sha256(&[password]);
    xor(&once, &sha256(&[&sha256(&[&once]), salt]))
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// Salt and results are those that the driver of Go is tested with.
    #[test]
    fn what_stands_for_a_password_is_what_other_drivers_send() {
        let salt = [10, 47, 74, 111, 75, 73, 34, 48, 88, 76, 114, 74, 37, 13, 3, 80, 82, 2, 23, 21];
        for (password, expected) in [
            ("secret", "f490e76f66d9d86665ce54d98c78d0acfe2fb0b08b423da807144873d30b312c"),
            ("secret2", "abc3934a012cf342e876071c8ee202de51785b430258a7a0138bc79c4d800bc6"),
        ] {
            assert_eq!(HEXLOWER.encode(&caching_sha2(password.as_bytes(), &salt)), expected);
        }
        assert_eq!(HEXLOWER.encode(&native(b"secret", &salt)), "6a149bdd80bda1ebf0fa2bd2cf2e9717fecc34bb");
    }
}
