//! What a kind of probe consists of, and how the list of kinds becomes known to the rest of the program.

use std::sync::Arc;

use super::prober::{Probe, ProberContext, SetupError};
use crate::{
    model::{Host, HttpUrl, Kind, Shape},
    net::TlsSpec,
    yaml::{Fields, ReadContext, writer::Writer},
};

/// The most addresses of a name whose sockets are kept, where the probes in flight share them.
pub(crate) const SHARED_SOCKETS: usize = 8;

/// A kind of probe, implemented by what one probe of it sends and expects. The kind's file is the only one that knows it;
/// see "Add a probe kind" in CONTRIBUTING.md.
pub(crate) trait ProbeKind: Sized {
    /// Name and facts that decision, ranking, metrics and pages use.
    const KIND: Kind;

    /// Its keys in configuration files, besides those of all kinds.
    const KEYS: &'static [&'static str];

    /// Whether the probes that are in flight share a socket.
    const SHARES_SOCKET: bool;

    /// A second way to write the kind: another kind's name, and the key that must be `true` with it.
    const ALIAS: Option<(&'static str, &'static str)> = None;

    /// What measures it.
    type Prober: Probe;

    /// Reads its keys. Reports what is wrong with them, and then returns nothing.
    fn read(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<Self>;

    /// Writes its keys with all defaults, so that [`read`](Self::read) gives the same again.
    fn write(&self, page: &mut Writer);

    /// Where it goes, in a line of `check`.
    fn destination(&self, host: &Host) -> String;

    /// The series that it has, but for those that a name to resolve adds.
    fn shape(&self) -> Shape;

    /// The TLS settings that it uses; their files are read again on reload.
    fn tls(&self) -> Option<&TlsSpec>;

    /// Its URL, whose host it goes to, if `url` is one of its keys. The other kinds go to the target's host.
    fn url(&self) -> Option<&HttpUrl> {
        None
    }

    /// The host that it connects to, if it is not the target's.
    fn dialled(&self) -> Option<&Host> {
        self.url().map(|url| &url.host)
    }

    /// The hosts that it connects to, each with the key that names it. A kind without a URL goes to the target's host.
    fn connects_to(&self) -> Vec<(&'static str, &Host)> {
        self.url().map(|url| ("url", &url.host)).into_iter().collect()
    }

    /// The name and the record type that it asks DNS for.
    fn question(&self) -> Option<(&str, String)> {
        None
    }

    /// How many connections it keeps besides those to its host.
    fn connections_elsewhere(&self) -> usize {
        0
    }

    /// Makes what measures it. Sends nothing yet.
    fn prober(self: Arc<Self>, context: ProberContext<'_>) -> Result<Self::Prober, SetupError>;
}

/// Declares the kinds: a line is the file, the variant of `ProbeSpec` and the type that implements [`ProbeKind`].
macro_rules! kinds {
    ($($file:ident: $variant:ident($spec:ident);)+) => {
        $(
            mod $file;
            pub use self::$file::*;
        )+

        /// What is sent and expected, by kind.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs, reason = "each variant's type says it")]
        pub enum ProbeSpec {
            $($variant(Arc<$spec>),)+
        }

        /// Every kind.
        pub const KINDS: [Kind; [$(stringify!($file)),+].len()] = [$($spec::KIND),+];

        /// What configuration files need to know of a kind.
        pub(crate) struct KindEntry {
            /// The kind.
            pub(crate) kind: Kind,
            /// See [`ProbeKind::KEYS`].
            pub(crate) keys: &'static [&'static str],
            /// See [`ProbeKind::ALIAS`].
            pub(crate) alias: Option<(&'static str, &'static str)>,
            /// See [`ProbeKind::read`].
            pub(crate) read: fn(&Fields<'_>, &ReadContext<'_>) -> Option<ProbeSpec>,
        }

        pub(crate) const KIND_ENTRIES: [KindEntry; KINDS.len()] = [$(KindEntry {
            kind: $spec::KIND,
            keys: $spec::KEYS,
            alias: $spec::ALIAS,
            read: |fields, context| Some($spec::read(fields, context)?.into()),
        }),+];

        $(
            impl From<$spec> for ProbeSpec {
                fn from(spec: $spec) -> Self {
                    Self::$variant(Arc::new(spec))
                }
            }
        )+

        impl ProbeSpec {
            /// The kind, which is the `probe` label.
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$variant(_) => $spec::KIND,)+
                }
            }

            /// Makes what measures it, and gives it to the visitor. Sends nothing yet.
            ///
            /// # Errors
            /// See [`SetupError`].
            ///
            /// # Panics
            /// Outside a tokio runtime.
            pub fn prober<V: ProberVisitor>(
                &self,
                context: ProberContext<'_>,
                visitor: V,
            ) -> Result<V::Output, SetupError> {
                match self {
                    $(Self::$variant(spec) => Ok(visitor.visit(Arc::clone(spec).prober(context)?)),)+
                }
            }

            /// Writes the keys of its kind, with all defaults.
            pub(crate) fn write(&self, page: &mut Writer) {
                match self {
                    $(Self::$variant(spec) => spec.write(page),)+
                }
            }

            /// Where it goes, for people.
            pub fn destination(&self, host: &Host) -> String {
                match self {
                    $(Self::$variant(spec) => spec.destination(host),)+
                }
            }

            /// The series that it has when it goes to this host.
            pub fn shape(&self, host: &Host) -> Shape {
                let shape = match self {
                    $(Self::$variant(spec) => spec.shape(),)+
                };
                match host {
                    Host::Name(_) => shape.with(Phase::Resolve, Failure::Resolve),
                    Host::Addr(_) | Host::Scoped(..) => shape,
                }
            }

            fn tls(&self) -> Option<&TlsSpec> {
                match self {
                    $(Self::$variant(spec) => spec.tls(),)+
                }
            }

            /// Whether the files that it names have other content, which they may while the configuration is the same.
            pub fn files_differ(&self, other: &Self) -> bool {
                self.tls().zip(other.tls()).is_some_and(|(own, other)| own.files_differ(other))
            }

            /// Whether it verifies its peer by the authorities of the system.
            pub fn trusts_the_system(&self) -> bool {
                self.tls().is_some_and(TlsSpec::trusts_the_system)
            }

            /// The host of its URL, if it has one; otherwise it goes to the target's host.
            pub fn url_host(&self) -> Option<&Host> {
                let url = match self {
                    $(Self::$variant(spec) => spec.url(),)+
                };
                url.map(|url| &url.host)
            }

            /// The name and the record type that it asks DNS for, if it does.
            pub fn question(&self) -> Option<(&str, String)> {
                match self {
                    $(Self::$variant(spec) => spec.question(),)+
                }
            }

            /// The host that it connects to, if it is not the target's.
            pub fn dialled(&self) -> Option<&Host> {
                match self {
                    $(Self::$variant(spec) => spec.dialled(),)+
                }
            }

            /// The hosts that it connects to, each with the key that names it; none if it goes to the target's host.
            pub(crate) fn connects_to(&self) -> Vec<(&'static str, &Host)> {
                match self {
                    $(Self::$variant(spec) => spec.connects_to(),)+
                }
            }

            /// How many descriptors it needs at most, with so many probes in flight.
            pub fn descriptors(&self, in_flight: u32, host: &Host) -> u64 {
                let shares_socket = match self {
                    $(Self::$variant(_) => $spec::SHARES_SOCKET,)+
                };
                let sockets = match host {
                    Host::Name(_) if shares_socket => SHARED_SOCKETS as u64,
                    Host::Addr(_) | Host::Scoped(..) if shares_socket => 1,
                    Host::Name(_) | Host::Addr(_) | Host::Scoped(..) => in_flight.into(),
                };
                let elsewhere = match self {
                    $(Self::$variant(spec) => spec.connections_elsewhere(),)+
                };
                // The socket before this one is kept for late answers, as are the sockets of earlier probes.
                2 * sockets + elsewhere as u64
            }
        }
    };
}

pub(super) use kinds;
