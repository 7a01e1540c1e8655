//! `mesh.delays`: how long containers take before their programs start.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::file::WAIT_MAX;
use super::inventory::Inventory;
use super::read::{At, Cursor, Problems};
use super::reader::at_most;
use super::schema::DelayTime;
use super::target::{Target, pattern};
use super::units::{Time, TimeRange};

/// Of a workload, the containers that start late, and by how much.
pub(super) type Delays = Vec<(At<Target>, Vec<(At<String>, At<TimeRange>)>)>;

/// `{web: {app: 5s, istio-proxy: 1s..3s}}`
pub(super) fn delays(field: &Cursor<'_>) -> Option<Delays> {
    const EXPECTED: &str = "containers by workload: a mapping such as `web: {app: 5s}`";
    let entries = field.entries(EXPECTED)?;
    let delays = entries.into_iter().filter_map(|(name, containers)| {
        let workload = match name.value.parse::<Target>() {
            Ok(workload) => Some(At { value: workload, place: name.place }),
            Err(message) => {
                containers.error_in(&name.place, "bad-value", message);
                None
            }
        };
        let entries = containers.entries("times by container: a mapping such as `app: 5s`")?;
        if entries.is_empty() {
            containers.error("empty", "expected at least one container, found an empty mapping");
        }
        let delays = entries.into_iter().filter_map(|(container, time)| Some((container, delay(&time)?))).collect();
        Some((workload?, delays))
    });
    Some(delays.collect())
}

fn delay(field: &Cursor<'_>) -> Option<At<TimeRange>> {
    let range: At<TimeRange> = field.parsed("a time or a range such as `1s..5s`")?;
    at_most(field, Time(*range.value.0.end()), WAIT_MAX)?;
    if range.value.0.end().is_zero() {
        field.error("out-of-range", "a delay of no time is none; expected 1ms at least");
        return None;
    }
    Some(range)
}

/// Checks that there are such workloads and containers at some step.
pub(super) fn check(delays: &Delays, ever: &Inventory, problems: &Problems) {
    for (workload, containers) in delays {
        let error = |place, message: String| problems.error(place, "unknown-workload", message);
        if workload.value.ordinal.is_some() || workload.value.container.is_some() {
            let (name, found) = (&workload.value.workload, &workload.value);
            error(&workload.place, format!("expected a workload, such as `{name}`, found `{found}`"));
            continue;
        }
        if workload.value.workload == "istiod" {
            error(
                &workload.place,
                "istiod runs before the first step; to have it late, pause or restart it".to_owned(),
            );
            continue;
        }
        if let Some(complaint) = ever.complaint(&workload.value, ever) {
            error(&workload.place, complaint);
            continue;
        }
        for (container, _) in containers {
            let target = Target { container: Some(container.value.clone()), ..workload.value.clone() };
            if let Some(complaint) = ever.complaint(&target, ever) {
                error(&container.place, complaint);
            }
        }
    }
}

/// Says it to the schema.
pub(super) struct DelaysByWorkload;

impl JsonSchema for DelaysByWorkload {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Delays".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": {"pattern": pattern::WORKLOAD},
            "additionalProperties": {
                "type": "object",
                "additionalProperties": generator.subschema_for::<DelayTime>(),
                "minProperties": 1,
            },
        })
    }
}
