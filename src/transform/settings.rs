//! The checked settings of exports. `config` builds them; nothing here parses files.

use std::time::Duration;

use super::Coding;
use crate::profiles::Accepts;

/// `ingest:` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestSettings {
    /// `stamp`: whether exports are read, split by app and stamped with the verified sender. Otherwise they
    /// pass untouched and undecoded. On.
    pub stamp: bool,
    /// `compression`: how a rewritten export leaves. The same.
    pub compression: Compression,
    /// `commands: pass`: whether the backend's `commands` (it may tell a tracer to stop for good) reach legacy
    /// clients. No: a host that answers in the backend's place could silence all tracers.
    pub pass_commands: bool,
    /// `parallel`: parts of one export that are sent at once, from 1 to 64. 8: more projects in one batch are
    /// rare, and each part takes a connection.
    pub parallel_parts: usize,
    /// `remember`: how long the accepted parts of a partly failed export are remembered, so that a retry sends
    /// only what is missing. 5 min, as long as exporters retry; zero remembers nothing.
    pub remember: Duration,
    /// `mirror`: bounds of what goes to other backends beside calls.
    pub mirror: MirrorSettings,
}

/// `ingest.mirror` of the configuration: of each backend to which apps are mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorSettings {
    /// `buffer`: what may wait, from 1 MiB to 1 GiB. 64 MiB: seconds of a busy gateway's telemetry.
    pub buffer_bytes: u64,
    /// `parallel`: copies that are sent at once, from 1 to 64. 4: half as many as an export's parts.
    pub parallel: usize,
    /// `patience`: how long a copy may wait and be tried, from 1 s to 10 min. 1 min: what is older makes room.
    pub patience: Duration,
}

impl Default for MirrorSettings {
    fn default() -> Self {
        MirrorSettings {
            buffer_bytes: 64 << 20,
            parallel: 4,
            patience: Duration::from_secs(60),
        }
    }
}

/// How a rewritten export is compressed on its way to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it came.
    Same,
    Identity,
    Gzip,
    Zstd,
}

impl Compression {
    /// The coding that is asked for; `None`: the one in which it came.
    pub(crate) fn coding(self) -> Option<Coding> {
        match self {
            Compression::Same => None,
            Compression::Identity => Some(Coding::Identity),
            Compression::Gzip => Some(Coding::Gzip),
            Compression::Zstd => Some(Coding::Zstd),
        }
    }

    /// How what came in `came` goes out to a backend that takes these forms.
    pub(crate) fn leaving(self, came: Coding, accepts: Accepts) -> Coding {
        let wanted = match self.coding() {
            Some(coding) => coding,
            // Which of its two formats a backend would take, is not known.
            None if came == Coding::Snappy => Coding::Gzip,
            None => came,
        };
        match wanted.is_taken(accepts) {
            true => wanted,
            // A profile has one of the two at least.
            false if accepts.gzip => Coding::Gzip,
            false => Coding::Identity,
        }
    }
}

impl Default for IngestSettings {
    fn default() -> Self {
        IngestSettings {
            stamp: true,
            compression: Compression::Same,
            pass_commands: false,
            parallel_parts: 8,
            remember: Duration::from_secs(300),
            mirror: MirrorSettings::default(),
        }
    }
}
