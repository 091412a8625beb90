//! What the kinds of databases share: passwords that are read again, connections that are kept, and tokens.

mod engine;
mod prober;
mod spec;
mod stream;
mod tokens;

pub use self::spec::Password;
pub(crate) use self::{
    engine::{Access, DatabaseSession, Engine, Found, Login, NoTokens, Problem, StatusAnswer},
    prober::LoginProbe,
    spec::{name, read_password_of, statement, write_password},
    stream::{Both, broken},
    tokens::{TokenProbe, TokenSetup},
};

/// The table of the tokens, where the configuration names no other.
pub const TOKEN_TABLE: &str = "regionwatch_tokens";

/// Whether a text can stand in statements as the name of a role, or of a table with or without its schema.
pub fn is_sql_name(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && !part.starts_with(|first: char| first.is_ascii_digit())
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    text.split('.').count() <= 2 && text.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_end_a_statement() {
        for name in ["regionwatch", "a.b_1", "_x"] {
            assert!(is_sql_name(name), "{name}");
        }
        for name in ["", "a b", "a;", "a.b.c", "A", "\"a\"", "`a`", ".a", "1a", "a'"] {
            assert!(!is_sql_name(name), "{name}");
        }
    }
}
