//! Hostile input against the real gateway over real sockets: every table row is refused in its dialect, with
//! one record, with nothing upstream, and leaves a gateway that serves the next request.

#[cfg(test)]
mod again;
#[cfg(test)]
mod agents;
#[cfg(test)]
mod aws;
#[cfg(test)]
mod chance;
#[cfg(test)]
mod codings;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod exports;
#[cfg(test)]
mod floods;
#[cfg(test)]
mod flow;
#[cfg(test)]
mod forgery;
#[cfg(test)]
mod frames;
#[cfg(test)]
mod gone;
#[cfg(test)]
mod ground;
#[cfg(test)]
mod http1;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod large;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod paths;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod silence;
#[cfg(test)]
mod site;
#[cfg(test)]
mod unread;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod wire;
