//! What presence counts.

use metrics::{counter, describe_counter};

pub(super) fn describe() {
    describe_counter!(WRITES, "Documents written by presence, by collection");
    describe_counter!(TOLD, "Changes of a status told to the others");
    describe_counter!(
        SWEPT,
        "Connections whose owner is gone, by how that became known"
    );
    describe_counter!(
        FAILED,
        "Rounds that the database did not answer and that are tried again"
    );
    describe_counter!(
        GIVEN_UP,
        "Users whose presence cannot be kept because of what is stored"
    );
    describe_counter!(
        CONTENDED,
        "Statuses left for later because others were faster each time"
    );
    describe_counter!(
        ODD,
        "Users whose connections were no list, which the next connection replaces"
    );
    describe_counter!(
        UNHEARD,
        "News of lost nodes left to the next sweep, because too much waited"
    );
}

pub(super) fn wrote(collection: &'static str, count: usize) {
    counter!(WRITES, "collection" => collection).increment(count as u64);
}

pub(super) fn told() {
    counter!(TOLD).increment(1);
}

pub(super) fn swept(reason: &'static str, count: usize) {
    counter!(SWEPT, "reason" => reason).increment(count as u64);
}

pub(super) fn store_failed() {
    counter!(FAILED).increment(1);
}

pub(super) fn given_up() {
    counter!(GIVEN_UP).increment(1);
}

pub(super) fn contended() {
    counter!(CONTENDED).increment(1);
}

pub(super) fn odd() {
    counter!(ODD).increment(1);
}

pub(super) fn unheard() {
    counter!(UNHEARD).increment(1);
}

const WRITES: &str = "ddp_edge_presence_writes_total";
const TOLD: &str = "ddp_edge_presence_told_total";
const SWEPT: &str = "ddp_edge_presence_swept_total";
const FAILED: &str = "ddp_edge_presence_failed_rounds_total";
const GIVEN_UP: &str = "ddp_edge_presence_given_up_total";
const CONTENDED: &str = "ddp_edge_presence_contended_total";
const ODD: &str = "ddp_edge_presence_odd_total";
const UNHEARD: &str = "ddp_edge_presence_unheard_total";
