//! Why a client does what it does: the trace's causes of its configuration and of its last failure.

use hermesh_xds::RpcFinished;

use super::Mesh;
use crate::explain;
use crate::trace::Recorded;

impl Mesh {
    /// How the pods of the workload `from` came to call `target` the way they do: the last configuration that a client
    /// of theirs applied, the last call that failed if the last call did, and what caused either, the earliest first, a
    /// line an event.
    #[must_use]
    pub fn explain(&self, from: &str, target: &str) -> String {
        let pods = match self.choose(from) {
            Ok(chosen) => chosen.pods,
            Err(error) => return error.to_string(),
        };
        let places: Vec<String> = pods.iter().map(|row| format!("{}/{}/", row.namespace, row.name)).collect();
        self.with_trace(|trace| {
            let here = |event: &Recorded| places.iter().any(|place| event.at.starts_with(place.as_str()));
            let applied = explain::applied(trace, target, here);
            let finished =
                trace.of::<RpcFinished>().filter(|(event, rpc)| here(event) && *rpc.target == *target).last();
            let finished = finished.map(|(event, _)| event);
            let failed = finished.filter(|event| event.get::<RpcFinished>().is_some_and(|rpc| rpc.code != "Ok"));
            let mut text = String::new();
            let applied = applied.map(|event| explain::in_use(trace, event, target));
            let failed = failed.map(|event| explain::causes(trace, event.seq));
            for (heading, lines) in [("configuration", applied), ("last failure", failed)] {
                let Some(lines) = lines else { continue };
                text.push_str(&format!("{heading} of {target}:\n"));
                lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
            }
            if text.is_empty() { format!("no client of {from} has called {target}\n") } else { text }
        })
    }
}
