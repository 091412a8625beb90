//! Why a request of a load test failed, in the words of our probes.

use crate::model::Failure;

/// By a response code of JMeter: a status, or a Java exception. `failure` is the message of an assertion.
pub(super) fn of_jmeter(code: &str, message: &str) -> Failure {
    let exceptions = [
        ("SocketTimeout", Failure::Timeout),
        ("ConnectTimeout", Failure::Timeout),
        ("HttpHostConnect", Failure::Refused),
        ("NoRouteToHost", Failure::Unreachable),
        ("PortUnreachable", Failure::Unreachable),
        ("UnknownHost", Failure::Resolve),
        ("SSL", Failure::Tls),
        ("Certificate", Failure::Tls),
        ("ConnectException", Failure::Refused),
        ("BindException", Failure::Local),
        ("SocketException", Failure::Refused),
    ];
    if let Some((_, failure)) = exceptions.into_iter().find(|(name, _)| code.contains(name)) {
        // Java has one exception for both.
        return if message.contains("timed out") { Failure::Timeout } else { failure };
    }
    // What we wrote ourselves.
    Failure::parse(code).unwrap_or_else(|| of_status(code))
}

/// By k6's tag `error_code`, or else by its tag `status`.
pub(super) fn of_k6(error_code: Option<&str>, status: Option<&str>) -> Failure {
    let code: u32 = error_code.and_then(|code| code.parse().ok()).unwrap_or_default();
    match code {
        1050 | 1211 => Failure::Timeout,
        1100..1200 => Failure::Resolve,
        1212 | 1220 => Failure::Refused,
        1200..1300 => Failure::Unreachable,
        1300..1400 => Failure::Tls,
        1400..1600 => Failure::Status,
        1000..1700 => Failure::Protocol,
        _ => of_status(status.unwrap_or_default()),
    }
}

/// By the status of a call of gRPC; `None` if it succeeded.
pub(super) fn of_grpc(status: u32) -> Option<Failure> {
    Some(match status {
        0 => return None,
        4 => Failure::Timeout,
        7 | 16 => Failure::Auth,
        14 => Failure::Refused,
        _ => Failure::Status,
    })
}

fn of_status(code: &str) -> Failure {
    match code.parse::<u16>() {
        // The answer came, and a check of the load test rejected it.
        Ok(100..400) => Failure::Mismatch,
        Ok(401 | 403 | 407) => Failure::Auth,
        Ok(400..) => Failure::Status,
        _ => Failure::Protocol,
    }
}
