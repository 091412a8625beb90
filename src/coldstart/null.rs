//! The null image: a program of some 300 bytes that answers HTTP at once, alone in an image of one layer. What it takes is
//! the engine's time and ours, and no image can take less: the floor.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::tar::archive;

/// The port on which it listens.
pub(super) const PORT: u16 = 8080;

/// The path of the program in the image.
pub(super) const PROGRAM: &str = "/null";

/// What it answers.
const ANSWER: &[u8; 57] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Where it listens, as `struct sockaddr_in`: `0.0.0.0:8080`.
const ADDRESS: [u8; 16] = [2, 0, 0x1f, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The instructions for x86-64. Address and answer follow them.
#[rustfmt::skip]
const X86_64: [u8; 100] = [
    0x6a, 0x29, 0x58, // push 41; pop rax
    0x6a, 0x02, 0x5f, // push 2; pop rdi
    0x6a, 0x01, 0x5e, // push 1; pop rsi
    0x31, 0xd2, // xor edx, edx
    0x0f, 0x05, // syscall: socket(AF_INET, SOCK_STREAM, 0)
    0x89, 0xc3, 0x89, 0xc7, // mov ebx, eax; mov edi, eax
    0x6a, 0x31, 0x58, // push 49; pop rax
    0x48, 0x8d, 0x35, 0x49, 0x00, 0x00, 0x00, // lea rsi, [rip + 73]: the address
    0x6a, 0x10, 0x5a, // push 16; pop rdx
    0x0f, 0x05, // syscall: bind
    0x6a, 0x32, 0x58, // push 50; pop rax
    0x89, 0xdf, // mov edi, ebx
    0x6a, 0x40, 0x5e, // push 64; pop rsi
    0x0f, 0x05, // syscall: listen(socket, 64)
    0x6a, 0x2b, 0x58, // push 43; pop rax
    0x89, 0xdf, // mov edi, ebx
    0x31, 0xf6, 0x31, 0xd2, // xor esi, esi; xor edx, edx
    0x0f, 0x05, // syscall: accept(socket, 0, 0)
    0x89, 0xc5, // mov ebp, eax
    0x31, 0xc0, // xor eax, eax
    0x89, 0xef, // mov edi, ebp
    0x48, 0x8d, 0xb4, 0x24, 0x00, 0xf0, 0xff, 0xff, // lea rsi, [rsp - 4096]
    0xba, 0x00, 0x10, 0x00, 0x00, // mov edx, 4096
    0x0f, 0x05, // syscall: read
    0x6a, 0x01, 0x58, // push 1; pop rax
    0x89, 0xef, // mov edi, ebp
    0x48, 0x8d, 0x35, 0x1e, 0x00, 0x00, 0x00, // lea rsi, [rip + 30]: the answer
    0x6a, 0x39, 0x5a, // push 57; pop rdx
    0x0f, 0x05, // syscall: write
    0x6a, 0x03, 0x58, // push 3; pop rax
    0x89, 0xef, // mov edi, ebp
    0x0f, 0x05, // syscall: close
    0xeb, 0xc6, // jmp: accept the next one
];

/// The same for 64-bit ARM.
#[rustfmt::skip]
const AARCH64: [u32; 33] = [
    0xd2800040, // mov x0, 2
    0xd2800021, // mov x1, 1
    0xd2800002, // mov x2, 0
    0xd28018c8, // mov x8, 198
    0xd4000001, // svc 0: socket(AF_INET, SOCK_STREAM, 0)
    0xaa0003f3, // mov x19, x0
    0x10000361, // adr x1, the address
    0xd2800202, // mov x2, 16
    0xd2801908, // mov x8, 200
    0xd4000001, // svc 0: bind
    0xaa1303e0, // mov x0, x19
    0xd2800801, // mov x1, 64
    0xd2801928, // mov x8, 201
    0xd4000001, // svc 0: listen(socket, 64)
    0xaa1303e0, // mov x0, x19
    0xd2800001, // mov x1, 0
    0xd2800002, // mov x2, 0
    0xd2801948, // mov x8, 202
    0xd4000001, // svc 0: accept(socket, 0, 0)
    0xaa0003f4, // mov x20, x0
    0xd14007e1, // sub x1, sp, 4096
    0xd2820002, // mov x2, 4096
    0xd28007e8, // mov x8, 63
    0xd4000001, // svc 0: read
    0xaa1403e0, // mov x0, x20
    0x10000181, // adr x1, the answer
    0xd2800722, // mov x2, 57
    0xd2800808, // mov x8, 64
    0xd4000001, // svc 0: write
    0xaa1403e0, // mov x0, x20
    0xd2800728, // mov x8, 57
    0xd4000001, // svc 0: close
    0x17ffffee, // b: accept the next one
];

/// Where a program is loaded.
const BASE: u64 = 0x40_0000;

/// The sizes of the two headers of a program of one segment (System V ABI, 4 and 5).
const HEADERS: usize = 64 + 56;

/// The program for an architecture, as engines name it; `None` for another one.
fn program(architecture: &str) -> Option<Vec<u8>> {
    let (machine, code): (u16, Vec<u8>) = match architecture {
        "amd64" | "x86_64" => (62, X86_64.to_vec()),
        "arm64" | "aarch64" => (183, AARCH64.iter().flat_map(|word| word.to_le_bytes()).collect()),
        _ => return None,
    };
    let length = (HEADERS + code.len() + ADDRESS.len() + ANSWER.len()) as u64;
    let mut elf = Vec::new();
    // 64 bits, little-endian, version 1.
    elf.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let word = |elf: &mut Vec<u8>, value: u64| elf.extend_from_slice(&value.to_le_bytes());
    elf.extend_from_slice(&[&2_u16.to_le_bytes()[..], &machine.to_le_bytes(), &1_u32.to_le_bytes()].concat());
    word(&mut elf, BASE + HEADERS as u64);
    word(&mut elf, 64);
    word(&mut elf, 0);
    elf.extend_from_slice(&0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 0, 0] {
        elf.extend_from_slice(&half.to_le_bytes());
    }
    // One segment to load, which is read and executed.
    elf.extend_from_slice(&[1_u32.to_le_bytes(), 5_u32.to_le_bytes()].concat());
    for value in [0, BASE, BASE, length, length, 0x1000] {
        word(&mut elf, value);
    }
    elf.extend_from_slice(&[&code[..], &ADDRESS, ANSWER].concat());
    Some(elf)
}

/// Layers of so many bytes as registries have them, in files of 128 KiB of which a half cannot be compressed: what it takes
/// to unpack them is measured.
pub(super) struct Ballast {
    /// The bytes of a layer.
    pub(super) size: usize,
    /// All but the first file, compressed.
    rest: Vec<u8>,
}

impl Ballast {
    pub(super) fn new(bytes: usize) -> Self {
        const FILE: usize = 128 << 10;
        let mut content = vec![b'-'; bytes];
        let mut random = StdRng::seed_from_u64(0x636f_6c64);
        content.chunks_mut(64).step_by(2).for_each(|half| random.fill_bytes(half));
        let files: Vec<_> =
            content.chunks(FILE).enumerate().map(|(n, piece)| (format!("ballast/{n}"), piece)).collect();
        let rest = archive(files.iter().map(|(name, piece)| (name.as_str(), 0o644, *piece)));
        Self { size: FIRST + rest.len(), rest: compressed(&rest) }
    }

    /// A layer that is another one for each number.
    pub(super) fn layer(&self, number: usize) -> Vec<u8> {
        let first = archive([("number", 0o644, number.to_string().as_bytes())]);
        // An archive goes on where its first file ends, and so does gzip (RFC 1952, 2.2).
        [&compressed(&first[..FIRST])[..], &self.rest].concat()
    }
}

/// The bytes of a small file in an archive: a header and a block.
const FIRST: usize = 1024;

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    // Memory takes all that is written.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// The layer of the image.
pub(super) fn layer(architecture: &str) -> Option<Vec<u8>> {
    program(architecture).map(|program| archive([(PROGRAM.trim_start_matches('/'), 0o755, &program[..])]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_program_for_each_usual_architecture() {
        for architecture in ["amd64", "x86_64", "arm64", "aarch64"] {
            let program = program(architecture).unwrap();
            assert!(program.len() < 400 && program.starts_with(b"\x7fELF"), "{architecture}");
            assert!(program.ends_with(b"\r\n\r\n"));
        }
        assert_eq!(program("riscv64"), None);
    }

    #[test]
    fn a_layer_that_is_unpacked_is_half_as_large_on_the_wire_and_each_is_another() {
        let ballast = Ballast::new(1 << 20);
        let (one, other) = (ballast.layer(1), ballast.layer(2));
        assert!(one != other);
        assert!((0.4..0.65).contains(&(one.len() as f64 / ballast.size as f64)), "{} of {}", one.len(), ballast.size);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.tar.gz"), other).unwrap();
        let list = std::process::Command::new("tar").args(["-tzf", "a.tar.gz"]).current_dir(folder.path()).output();
        let list = list.unwrap();
        assert!(list.status.success() && list.stdout.starts_with(b"number\nballast/0\nballast/1\n"), "{list:?}");
    }
}
