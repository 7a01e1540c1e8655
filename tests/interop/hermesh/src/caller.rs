//! One channel and the calls made on it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hermesh_echo::proto::EchoRequest;
use hermesh_echo::proto::echo_test_service_client::EchoTestServiceClient;
use hermesh_runtime::{Runtime, Task};
use hermesh_xds::{ChannelCredentials, XdsChannel};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};
use tonic::{Request, Status};

use crate::command::{Calls, Credentials};
use crate::tally::Tally;

pub(crate) struct Caller {
    channel: XdsChannel,
    load: Mutex<Option<Load>>,
}

/// Calls that go on until they are to stop.
struct Load {
    stop: Arc<Notify>,
    tally: mpsc::Receiver<Tally>,
    _task: Task,
}

impl Caller {
    pub(crate) async fn new(rt: &Runtime, calls: &Calls) -> Result<Self, String> {
        let credentials = match calls.credentials {
            Credentials::Xds => ChannelCredentials::xds_with_insecure_fallback(),
            Credentials::Insecure => ChannelCredentials::Insecure,
        };
        let channel = XdsChannel::connect(rt, &calls.target, credentials).await.map_err(|error| error.to_string())?;
        Ok(Self { channel, load: Mutex::default() })
    }

    /// Makes the calls, so many at a time.
    pub(crate) async fn call(&self, rt: &Runtime, calls: &Calls) -> Value {
        let (outcomes_tx, mut outcomes) = mpsc::channel(1);
        let workers = calls.concurrency.clamp(1, calls.count.max(1));
        let begun = Instant::now();
        for worker in 0..workers {
            let (channel, calls, outcomes) = (self.channel.clone(), calls.clone(), outcomes_tx.clone());
            rt.spawn("caller", async move {
                for index in (worker..calls.count).step_by(workers) {
                    if let Some(qps) = calls.qps {
                        tokio::time::sleep_until(begun + Duration::from_secs(index as u64) / qps).await;
                    }
                    let _ = outcomes.send(one(&channel, &calls).await).await;
                }
            });
        }
        drop(outcomes_tx);
        let mut tally = Tally::default();
        while let Some(outcome) = outcomes.recv().await {
            tally.add(outcome);
        }
        tally.answer()
    }

    /// Begins to make calls at the interval asked for, one after the other.
    pub(crate) fn load(&self, rt: &Runtime, calls: Calls) {
        let (stop, (tally_tx, tally)) = (Arc::new(Notify::new()), mpsc::channel(1));
        let (channel, stopped) = (self.channel.clone(), Arc::clone(&stop));
        let task = rt.spawn("load", async move {
            let mut tally = Tally::default();
            let mut ticks = tokio::time::interval(Duration::from_millis(calls.interval_ms.max(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    () = stopped.notified() => break,
                    _ = ticks.tick() => tally.add(one(&channel, &calls).await),
                }
            }
            let _ = tally_tx.send(tally).await;
        });
        *self.load.lock().unwrap_or_else(PoisonError::into_inner) = Some(Load { stop, tally, _task: task });
    }

    /// Ends the load and tells what came of it.
    pub(crate) async fn stop(&self) -> Result<Value, String> {
        let load = self.load.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut load = load.ok_or("no load on this channel")?;
        load.stop.notify_one();
        load.tally.recv().await.map(|tally| tally.answer()).ok_or_else(|| "the load ended by itself".to_owned())
    }
}

async fn one(channel: &XdsChannel, calls: &Calls) -> Result<String, Status> {
    let mut request = Request::new(EchoRequest { message: "interop".to_owned() });
    request.set_timeout(Duration::from_millis(calls.timeout_ms));
    for (name, value) in &calls.metadata {
        let key: MetadataKey<Ascii> =
            name.parse().map_err(|_| Status::invalid_argument(format!("`{name}` is no metadata key")))?;
        let value: MetadataValue<Ascii> =
            value.parse().map_err(|_| Status::invalid_argument(format!("`{value}` is no metadata value")))?;
        request.metadata_mut().insert(key, value);
    }
    let response = EchoTestServiceClient::new(channel.clone()).echo(request).await?;
    Ok(response.into_inner().message)
}
