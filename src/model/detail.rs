//! What is known of a failed probe beyond its result.

use std::{fmt, net::IpAddr};

use super::{Phase, labels};

/// What is known of a failed probe beyond its result, for people who ask why it failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailureContext {
    /// The phase in which it failed, if that is known.
    pub phase: Option<Phase>,
    /// The address that was probed; none if the name had none.
    pub address: Option<IpAddr>,
    /// What the peer said, or what was wrong with it.
    pub detail: Option<FailureDetail>,
}

impl From<Option<Phase>> for FailureContext {
    /// A failure in this phase, of which no more is known.
    fn from(phase: Option<Phase>) -> Self {
        Self { phase, ..Self::default() }
    }
}

impl fmt::Display for FailureContext {
    /// Such as `in phase tls to 192.0.2.1: the certificate has expired`, or `HTTP status 503 from 192.0.2.1`; empty if nothing
    /// is known. An answer has come through all phases.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, address, detail } = self;
        if let Some(answer) = detail.filter(|detail| detail.is_answer()) {
            write!(f, "{answer}")?;
            return address.map_or(Ok(()), |address| write!(f, " from {address}"));
        }
        let place = [phase.map(|phase| format!("in phase {phase}")), address.map(|address| format!("to {address}"))];
        f.write_str(&place.into_iter().flatten().collect::<Vec<_>>().join(" "))?;
        match detail {
            Some(detail) if phase.is_some() || address.is_some() => write!(f, ": {detail}"),
            Some(detail) => write!(f, "{detail}"),
            None => Ok(()),
        }
    }
}

/// What a peer said, or what was wrong with it, where the result is too coarse to act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureDetail {
    /// The status of an HTTP response (RFC 9110 15).
    HttpStatus(u16),
    /// The response code of a DNS message (RFC 1035 4.1.1).
    Rcode(u8),
    /// How an answer breaks HTTP.
    Http(HttpFault),
    /// The body of an HTTP response is compressed with something that is not undone here.
    UnknownCoding,
    /// The body of an HTTP response is longer than what is read of it.
    TruncatedBody,
    /// No field of the head of an HTTP response with a certain name is the expected one.
    OtherHeader,
    /// The body of an HTTP response is not the expected one.
    OtherBody,
    /// Why a DNS answer without an error has no record that was asked for.
    EmptyAnswer(EmptyAnswer),
    /// The records of a DNS answer are not the expected ones.
    OtherRecords,
    /// A DNS answer is truncated (RFC 1035 4.1.1), and was not asked for again over TCP.
    TruncatedAnswer,
    /// What so many bytes over TCP, at most 65,535 of which are counted, do not match.
    OtherBytes(u16),
    /// The error that a database has reported (SQLSTATE, ISO/IEC 9075).
    SqlState([u8; 5]),
    /// The number of the error that MySQL or MariaDB has reported, such as 1045.
    MysqlError(u16),
    /// The error that Redis has reported.
    Redis(RedisFault),
    /// The status of a gRPC call, such as 5 for `NOT_FOUND`.
    GrpcStatus(u16),
    /// What a gRPC health check has answered instead of `SERVING`.
    Health(u32),
    /// What is wrong with the peer's certificate.
    Certificate(CertificateFault),
    /// The alert by which the peer ended the connection (RFC 8446 6).
    TlsAlert(u8),
    /// The proxy on the way to the peer cannot be reached, or does not speak HTTP.
    ProxyUnreachable,
    /// The file system on which the Unix socket is does not answer.
    SocketPathHangs,
    /// The peer said that it does not go on to TLS.
    StartTlsRefused,
    /// A database asks for the password itself, and TLS does not verify who gets it.
    PasswordNeedsTls,
    /// A database asks for a login that we cannot do.
    UnknownLoginMethod,
    /// The peer offers TLS 1.1 or an older version, and nothing newer.
    OldTls,
    /// The peer accepts no version or cipher of TLS that we offer.
    NoCommonTls,
    /// The peer answered with something that is not TLS.
    NotTls,
    /// The peer closed the connection in the TLS handshake, without an alert.
    ClosedInHandshake,
}

impl FailureDetail {
    /// Whether it is the answer to a request that went well as far as that.
    const fn is_answer(self) -> bool {
        match self {
            Self::HttpStatus(_)
            | Self::UnknownCoding
            | Self::TruncatedBody
            | Self::OtherHeader
            | Self::OtherBody
            | Self::Rcode(_)
            | Self::EmptyAnswer(_)
            | Self::OtherRecords
            | Self::TruncatedAnswer
            | Self::OtherBytes(_)
            | Self::SqlState(_)
            | Self::MysqlError(_)
            | Self::Redis(_)
            | Self::GrpcStatus(_)
            | Self::Health(_) => true,
            Self::Http(_)
            | Self::Certificate(_)
            | Self::TlsAlert(_)
            | Self::ProxyUnreachable
            | Self::SocketPathHangs
            | Self::StartTlsRefused
            | Self::PasswordNeedsTls
            | Self::UnknownLoginMethod
            | Self::OldTls
            | Self::NoCommonTls
            | Self::NotTls
            | Self::ClosedInHandshake => false,
        }
    }
}

labels! {
    /// How an answer breaks HTTP.
    pub enum HttpFault {
        /// The connection ended within it.
        CutOff = "the connection was closed before the answer was complete",
        /// It is of another protocol, or breaks the grammar of HTTP.
        Malformed = "the answer is not valid HTTP",
        /// Its head or its pieces are more than is read.
        TooLong = "the answer is longer, or comes in more pieces, than is read of one",
        /// The server does not speak the only version that is offered.
        NoHttp2 = "the server does not offer HTTP/2",
    }
}

labels! {
    /// Why a DNS answer has no record that was asked for.
    pub enum EmptyAnswer {
        /// The name has none.
        NoRecord = "has no record of the type that was asked for",
        /// The name is an alias, and what it leads to has none.
        Alias = "is an alias (CNAME) without a record behind it",
        /// The server is not responsible for the name.
        Referral = "is a referral to other name servers",
    }
}

labels! {
    /// What an error of Redis begins with. Most are a word, and the others stand after `ERR`.
    pub enum RedisFault {
        /// It wants a login.
        NoAuth = "NOAUTH",
        /// No such user, or another password.
        WrongPass = "WRONGPASS",
        /// The user has no right to the command or to the key.
        NoPerm = "NOPERM",
        /// It has no password, and takes connections from its own host alone.
        Denied = "DENIED",
        /// Another password, before Redis 6.
        InvalidPassword = "invalid password",
        /// It has a password for nothing.
        NoPassword = "AUTH <password> called without any password configured",
        /// It has as many connections as it may.
        MaxClients = "max number of clients reached",
        /// It reads its data after a start.
        Loading = "LOADING",
        /// It is a replica, and takes no writes.
        ReadOnly = "READONLY",
        /// It is a replica that answers nothing while it has no connection to its primary.
        MasterDown = "MASTERDOWN",
        /// It runs a script that takes long.
        Busy = "BUSY",
        /// It has no memory for writes.
        OutOfMemory = "OOM",
        /// It cannot save its data, and takes no writes.
        Misconfigured = "MISCONF",
        /// It has fewer replicas than it takes writes with.
        NoReplicas = "NOREPLICAS",
        /// Another server of the cluster has the key.
        Moved = "MOVED",
        /// The cluster is not complete.
        ClusterDown = "CLUSTERDOWN",
        /// The key holds something else.
        WrongType = "WRONGTYPE",
        /// It does not have the command.
        UnknownCommand = "unknown command",
        /// It does not understand what it has received.
        Protocol = "Protocol error",
        /// Any other.
        Other = "ERR",
    }
}

labels! {
    /// What is wrong with a certificate.
    pub enum CertificateFault {
        /// Its `notAfter` is over.
        Expired = "has expired",
        /// Its `notBefore` is to come.
        NotYetValid = "is not valid yet",
        /// No authority that is trusted has signed it.
        UnknownAuthority = "is signed by an unknown authority",
        /// It does not name the host.
        WrongName = "is for another name",
        /// Its signature is wrong.
        BadSignature = "has a wrong signature",
        /// It must not be used by a server, or its authority must not sign.
        WrongPurpose = "may not be used for a server",
        /// It was revoked.
        Revoked = "was revoked",
        /// It has something that cannot be verified: version 1, an old algorithm, an unknown critical extension.
        Unsupported = "cannot be verified: old version, algorithm or unknown critical extension",
    }
}

impl fmt::Display for FailureDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HttpStatus(status) => write!(f, "HTTP status {status}"),
            Self::Rcode(code) => match rcode(*code) {
                Some(name) => write!(f, "rcode {name}"),
                None => write!(f, "rcode {code}"),
            },
            Self::Http(fault) => write!(f, "{fault}"),
            Self::UnknownCoding => f.write_str("the body is compressed, and not with gzip or deflate"),
            Self::TruncatedBody => f.write_str("the body is longer than body_limit, and only so much of it counts"),
            Self::OtherHeader => f.write_str("a header field is missing, or is not the expected one"),
            Self::OtherBody => f.write_str("the body is not the expected one"),
            Self::EmptyAnswer(why) => write!(f, "the answer {why}"),
            Self::OtherRecords => f.write_str("other records than expected"),
            Self::TruncatedAnswer => f.write_str("the answer is truncated, and retry_over_tcp is off"),
            Self::OtherBytes(0) => f.write_str("no bytes, although some are expected"),
            Self::OtherBytes(1) => f.write_str("a byte that is not expected"),
            Self::OtherBytes(u16::MAX) => f.write_str("65,535 bytes or more that are not expected"),
            Self::OtherBytes(count) => write!(f, "{count} bytes that are not expected"),
            Self::SqlState(code) => write!(f, "SQLSTATE {}", code.escape_ascii()),
            Self::MysqlError(code) => write!(f, "MySQL error {code}"),
            Self::Redis(fault) => write!(f, "Redis error {fault}"),
            Self::GrpcStatus(code) => match grpc_status(*code) {
                Some(name) => write!(f, "gRPC status {name}"),
                None => write!(f, "gRPC status {code}"),
            },
            Self::Health(status) => match health(*status) {
                Some(name) => write!(f, "health status {name}"),
                None => write!(f, "health status {status}"),
            },
            Self::Certificate(fault) => write!(f, "the certificate {fault}"),
            Self::TlsAlert(code) => match alert(*code) {
                // All that servers with old versions alone say.
                Some(name) if *code == 70 => write!(f, "TLS alert {name}: the peer accepts neither TLS 1.2 nor 1.3"),
                Some(name) => write!(f, "TLS alert {name}"),
                None => write!(f, "TLS alert {code}"),
            },
            Self::ProxyUnreachable => f.write_str("the proxy cannot be used"),
            Self::SocketPathHangs => f.write_str("the file system of the Unix socket does not answer"),
            Self::StartTlsRefused => f.write_str("the server has refused STARTTLS"),
            Self::PasswordNeedsTls => f.write_str(
                "the server asks for the password itself, which is sent only over TLS that verifies the server",
            ),
            Self::UnknownLoginMethod => f.write_str("the server asks for a login method that is not supported"),
            Self::OldTls => f.write_str("the peer offers TLS 1.1 or older, which is not supported"),
            Self::NoCommonTls => f.write_str("no common TLS version or cipher"),
            Self::NotTls => f.write_str("the answer is not TLS"),
            Self::ClosedInHandshake => f.write_str("closed in the TLS handshake"),
        }
    }
}

/// The names of dig.
const fn rcode(code: u8) -> Option<&'static str> {
    Some(match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        _ => return None,
    })
}

/// The names of the gRPC documentation (statuscodes.md).
const fn grpc_status(code: u16) -> Option<&'static str> {
    Some(match code {
        0 => "OK",
        1 => "CANCELLED",
        2 => "UNKNOWN",
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        6 => "ALREADY_EXISTS",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        9 => "FAILED_PRECONDITION",
        10 => "ABORTED",
        11 => "OUT_OF_RANGE",
        12 => "UNIMPLEMENTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        15 => "DATA_LOSS",
        16 => "UNAUTHENTICATED",
        _ => return None,
    })
}

/// The names of `HealthCheckResponse.ServingStatus`.
const fn health(status: u32) -> Option<&'static str> {
    Some(match status {
        0 => "UNKNOWN",
        1 => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => return None,
    })
}

/// The names of RFC 8446 6 and of TLS 1.2 (RFC 5246 7.2).
const fn alert(code: u8) -> Option<&'static str> {
    Some(match code {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => return None,
    })
}

/// When the certificates of a peer are valid, in seconds since 1970. Read of any certificate, also of one that is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateDates {
    /// `notBefore` of the peer's own certificate.
    pub not_before: i64,
    /// `notAfter` of the peer's own certificate.
    pub not_after: i64,
    /// The first `notAfter` of the authorities between it and the trusted one, if the peer sent any.
    pub issuers_not_after: Option<i64>,
}
