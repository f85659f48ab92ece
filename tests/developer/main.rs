//! The developer's command line as people use it: the real binary against the embedded issuer, the real gateway, and a stand-in
//! for gateways that answer badly. It knows nothing of the modules within.

#[cfg(test)]
mod asking;
#[cfg(test)]
mod connecting;
#[cfg(test)]
mod desk;
#[cfg(test)]
mod front;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod staying;
