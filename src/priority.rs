//! Who goes first when the processors are taken.

/// Of threads that stand back (nice(2), 0 to 19).
const NICENESS: i32 = 10;

/// Has the calling thread let those that take webhooks go first: while both have something to do,
/// a webhook is taken, and a reply waits.
pub fn stand_back() {
    // Of this thread alone, by Linux. A refusal costs speed, nothing else.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}
