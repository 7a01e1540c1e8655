//! Volumes without room, and writes that stop in the middle.

use std::time::Duration;

use hermesh_istiod::objects::{Kind, ObjectKey};
use hermesh_istiod::yaml::nearest;
use hermesh_runtime::EventId;

use super::disturb::Ending;
use super::{DisturbError, Mesh, TargetError};
use crate::cluster::kubelet::{Disk, OnePod};
use crate::engine::Volume;

/// Volumes of pods as they are now, not of others that have their names later, by the volumes' names in the specs, such
/// as `istio-data`.
impl Mesh {
    /// Leaves a volume of a workload's pods, `web`, or of one of them, `web/0`, without room: files that are there can
    /// be read, renamed and removed, but writes and new directories fail (ENOSPC).
    ///
    /// # Panics
    /// If nothing of that name runs, or has no such volume.
    #[track_caller]
    pub fn fill_volume(&mut self, target: &str, volume: &str) -> &mut Self {
        let result = self.try_fill_volume(target, volume);
        self.must("fill_volume", result);
        self
    }

    /// [`fill_volume`](Self::fill_volume) without panics; answers with the pods.
    ///
    /// # Errors
    /// If nothing of that name runs, or has no such volume.
    pub fn try_fill_volume(&mut self, target: &str, volume: &str) -> Result<Vec<String>, DisturbError> {
        self.fill(target, volume, None)
    }

    /// [`fill_volume`](Self::fill_volume) for a time: then there is room again, in pods that are still there.
    ///
    /// # Panics
    /// If nothing of that name runs, or has no such volume.
    #[track_caller]
    pub fn fill_volume_for(&mut self, target: &str, volume: &str, time: Duration) -> &mut Self {
        let result = self.try_fill_volume_for(target, volume, time);
        self.must("fill_volume_for", result);
        self
    }

    /// [`fill_volume_for`](Self::fill_volume_for) without panics; answers with the pods.
    ///
    /// # Errors
    /// If nothing of that name runs, or has no such volume.
    pub fn try_fill_volume_for(
        &mut self,
        target: &str,
        volume: &str,
        time: Duration,
    ) -> Result<Vec<String>, DisturbError> {
        self.fill(target, volume, Some(time))
    }

    /// Makes room in a volume again, and has no more writes stop in the middle.
    ///
    /// # Panics
    /// If nothing of that name runs, or has no such volume.
    #[track_caller]
    pub fn free_volume(&mut self, target: &str, volume: &str) -> &mut Self {
        let result = self.try_free_volume(target, volume);
        self.must("free_volume", result);
        self
    }

    /// [`free_volume`](Self::free_volume) without panics; answers with the pods.
    ///
    /// # Errors
    /// If nothing of that name runs, or has no such volume.
    pub fn try_free_volume(&mut self, target: &str, volume: &str) -> Result<Vec<String>, DisturbError> {
        self.set_disk("free the volume", target, volume, Disk::Whole, None)
    }

    /// Lets the next few writes of containers to a volume stop in the middle, without a word to who writes: the file
    /// ends there until it is written anew, as after a crash of the machine.
    ///
    /// # Panics
    /// If nothing of that name runs, or has no such volume.
    #[track_caller]
    pub fn tear_writes(&mut self, target: &str, volume: &str, count: u64) -> &mut Self {
        let result = self.try_tear_writes(target, volume, count);
        self.must("tear_writes", result);
        self
    }

    /// [`tear_writes`](Self::tear_writes) without panics; answers with the pods.
    ///
    /// # Errors
    /// If nothing of that name runs, or has no such volume.
    pub fn try_tear_writes(&mut self, target: &str, volume: &str, count: u64) -> Result<Vec<String>, DisturbError> {
        self.set_disk("tear writes to the volume", target, volume, Disk::Torn { count }, None)
    }

    pub(crate) fn fill(
        &mut self,
        target: &str,
        volume: &str,
        lasting: Option<Duration>,
    ) -> Result<Vec<String>, DisturbError> {
        self.set_disk("fill the volume", target, volume, Disk::Full, lasting)
    }

    /// Has every volume be as it was.
    pub(super) fn free_all_volumes(&mut self, cause: Option<EventId>) {
        for (pod, name) in std::mem::take(&mut self.disks) {
            self.cluster.kubelet.set_disk(&pod, &name, Disk::Whole, cause);
            self.forget(&Ending::Volume(pod, name));
        }
    }

    fn set_disk(
        &mut self,
        what: &'static str,
        target: &str,
        name: &str,
        disk: Disk,
        lasting: Option<Duration>,
    ) -> Result<Vec<String>, DisturbError> {
        let pods = self.pods_with(target, name)?;
        let names: Vec<String> = pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
        let told = names.iter().map(|pod| format!("{name} of {pod}")).collect();
        let cause = self.disturb(what, told);
        let kubelet = self.cluster.kubelet.clone();
        let ones: Vec<OnePod> = pods.iter().filter_map(|pod| kubelet.one(pod)).collect();
        self.at_once(|| ones.iter().for_each(|pod| kubelet.set_disk(pod, name, disk, cause)))?;
        for pod in ones {
            let (kubelet, own) = (kubelet.clone(), (pod.clone(), name.to_owned()));
            if disk == Disk::Whole {
                self.disks.remove(&own)
            } else {
                self.disks.insert(own.clone())
            };
            let end = move || kubelet.set_disk(&own.0, &own.1, Disk::Whole, cause);
            self.ends(Ending::Volume(pod, name.to_owned()), lasting, end);
        }
        Ok(names)
    }

    /// The pods of a target, all of which have a volume of this name.
    fn pods_with(&self, target: &str, name: &str) -> Result<Vec<ObjectKey>, DisturbError> {
        let mut pods = Vec::new();
        for row in self.choose(target)?.pods {
            let pod = ObjectKey::new(Kind::Pod, &row.namespace, &row.name);
            if self.cluster.machines.contains(&pod.namespace, &pod.name) {
                return Err(DisturbError::Machine { machine: pod.name, lacks: "volumes" });
            }
            let volumes = self.cluster.kubelet.volumes(&pod);
            if volumes.is_empty() {
                continue;
            }
            if !volumes.iter().any(|(own, _): &(String, Volume)| own == name) {
                let nearest = nearest(name, volumes.iter().map(|(own, _)| own.as_str())).map(str::to_owned);
                return Err(TargetError::Unknown { what: "volume", name: name.to_owned(), nearest }.into());
            }
            pods.push(pod);
        }
        if pods.is_empty() { Err(TargetError::NotRunning(target.to_owned()).into()) } else { Ok(pods) }
    }
}
