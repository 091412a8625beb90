//! The messages of the health check: one field of protobuf each, behind the five bytes that gRPC puts before a message
//! (PROTOCOL-HTTP2.md of gRPC).

/// The most bytes of a response's body. `HealthCheckResponse` takes two, and later versions may add fields.
pub(super) const MAX_BODY: usize = 4 << 10;

/// `HealthCheckResponse.ServingStatus.SERVING`.
pub(super) const SERVING: u32 = 1;

/// A flag that the message is compressed, and its length.
const PREFIX: usize = 5;

/// The wire types of protobuf that are in use. Groups were given up before gRPC.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// The highest number of a field.
const MAX_FIELD: u64 = (1 << 29) - 1;

/// A `HealthCheckRequest`, whose field 1 is the service.
pub(super) fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    // A field that has its default value is left out.
    if !service.is_empty() {
        message.push((1 << 3 | BYTES) as u8);
        let mut length = service.len();
        while length > 0x7f {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend(message);
    framed
}

/// The status in a body that consists of one `HealthCheckResponse`, whose field 1 it is; `None` if it consists of anything
/// else.
pub(super) fn serving_status(body: &[u8]) -> Option<u32> {
    let (prefix, mut message) = body.split_at_checked(PREFIX)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?);
    // Nothing compressed was asked for.
    if prefix[0] != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let (field, wire_type) = (tag >> 3, tag & 7);
        if !(1..=MAX_FIELD).contains(&field) {
            return None;
        }
        match wire_type {
            // The last one counts, and an enum has 32 bits.
            VARINT if field == 1 => status = varint(&mut message)? as u32,
            _ if field == 1 => return None,
            VARINT => {
                varint(&mut message)?;
            }
            FIXED64 => skip(&mut message, 8)?,
            FIXED32 => skip(&mut message, 4)?,
            BYTES => {
                let length = varint(&mut message)?;
                skip(&mut message, length)?;
            }
            _ => return None,
        }
    }
    Some(status)
}

/// Seven bits a byte, the lowest first, in ten bytes at the most.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn skip(bytes: &mut &[u8], count: u64) -> Option<()> {
    *bytes = bytes.get(usize::try_from(count).ok()?..)?;
    Some(())
}

/// What the fuzz target calls.
pub fn fuzz_health(bytes: &[u8]) -> Option<u32> {
    serving_status(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &length[..], message].concat()
    }

    #[test]
    fn a_request_is_what_the_library_of_python_writes() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("a.B"), *b"\x00\x00\x00\x00\x05\x0a\x03a.B");
        let long = request(&"x".repeat(300));
        assert_eq!(long[..8], *b"\x00\x00\x00\x01\x2f\x0a\xac\x02");
        assert_eq!(long.len(), 5 + 3 + 300);
    }

    #[test]
    fn the_status_is_read_beside_fields_of_later_versions() {
        let cases: [(&[u8], u32); 9] = [
            (b"", 0),
            (b"\x08\x01", 1),
            (b"\x08\x02", 2),
            (b"\x08\x01\x08\x02", 2),
            (b"\x08\x81\x80\x00", 1),
            (b"\x12\x03abc\x08\x01", 1),
            (b"\x19\0\0\0\0\0\0\0\0\x08\x01\x25\0\0\0\0", 1),
            (b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x08\x03", 3),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", u32::MAX),
        ];
        for (message, status) in cases {
            assert_eq!(serving_status(&framed(message)), Some(status), "{}", message.escape_ascii());
        }
    }

    #[test]
    fn a_message_that_breaks_its_format_is_none() {
        let cases: [&[u8]; 11] = [
            b"\x08",
            b"\x08\x80",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            // A status of another type, field 0, a group, an unknown type.
            b"\x0a\x01\x01",
            b"\x00\x01",
            b"\x0b\x0c",
            b"\x13\x14",
            b"\x0f\x01",
            // More bytes than there are.
            b"\x12\x04abc",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x19\0\0\0",
        ];
        for message in cases {
            assert_eq!(serving_status(&framed(message)), None, "{}", message.escape_ascii());
        }
        let two = [framed(b"\x08\x01"), framed(b"\x08\x01")].concat();
        let compressed = [&[1], &framed(b"\x08\x01")[1..]].concat();
        for body in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x03\x08\x01", b"\0\0\0\0\x01\x08\x01", &two, &compressed] {
            assert_eq!(serving_status(body), None, "{}", body.escape_ascii());
        }
    }
}
