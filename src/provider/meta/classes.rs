//! What Graph's error codes mean for a message (`docs/wire/meta-unipile-twilio.md` B5).

use crate::domain::{
    clock::{MINUTE, Millis, SECOND},
    delivery::{Reason, Refusal},
};

/// After a pair was sent to too fast (B6: one message in six seconds).
const PAIR_PAUSE: Millis = 6 * SECOND;
/// While a number is upgraded (131057).
const MAINTENANCE_PAUSE: Millis = 20 * SECOND;
/// While a template is copied to where it is sent from (134101).
const TEMPLATE_PAUSE: Millis = 10 * MINUTE;

/// What a code means, whichever way it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Surely not sent, and what may be done next.
    Refused(Refusal),
    /// Not now; after this time where one is known.
    Later(Option<Millis>),
    /// Not now, and through no other route; after this time.
    Wait(Millis),
    /// Meta has trouble of its own and refused for sure.
    Trouble,
    /// Something went wrong there; whether it was sent nobody can say.
    Ambiguous,
    /// The file that a link leads to could not be had.
    Link,
}

/// Customers of this country must not be written to (B5).
pub(super) const COUNTRY: u64 = 130_497;

/// A code of B5; `None` is one that is not known.
pub(super) fn class(code: u64) -> Option<Class> {
    use Reason::{
        Invalid, NoPhone, NotRegistered, OptedOut, Plan, Quality, Restricted, Template,
        Unauthorized, Undeliverable, Unsupported, WindowClosed,
    };
    let fail_over = |reason| Class::Refused(Refusal::FailOver(reason));
    let give_up = |reason| Class::Refused(Refusal::GiveUp(reason));
    Some(match code {
        // The token, and what it may do: nothing was processed.
        0 | 190 | 3 | 10 | 200..=299 | 131_005 => fail_over(Unauthorized),
        4 | 17 | 613 | 80_007 | 130_429 => Class::Later(None),
        131_056 => Class::Wait(PAIR_PAUSE),
        // More sends, from wherever, make it worse: a person looks first.
        131_048 | 131_064 => Class::Refused(Refusal::Park(Quality)),
        368 | COUNTRY | 131_031 => fail_over(Restricted),
        131_037 | 131_045 | 133_000 | 133_005 | 133_006 | 133_008 | 133_009 | 133_010 | 133_015
        | 133_016 | 136_024 => fail_over(NotRegistered),
        131_042 | 134_011 => fail_over(Plan),
        33 | 100 | 131_008 | 131_009 | 131_021 | 131_052 | 135_000 => give_up(Invalid),
        131_051 => give_up(Unsupported),
        // Through a number that has no window it would be sent all the same.
        131_047 => Class::Refused(Refusal::Park(WindowClosed)),
        131_026 | 131_030 | 130_403 => give_up(Undeliverable),
        // What the customer wants no more of, and caps and experiments of Meta's: another route
        // would go round them.
        130_472 | 131_049 | 131_050 | 131_055 | 131_063 | 134_100 => give_up(OptedOut),
        131_062 => fail_over(NoPhone),
        131_053 => Class::Link,
        132_000 | 132_001 | 132_005 | 132_007 | 132_008 | 132_012 | 132_015 | 132_016 | 132_018
        | 132_068 | 132_069 | 134_102 => give_up(Template),
        134_101 => Class::Wait(TEMPLATE_PAUSE),
        131_057 => Class::Later(Some(MAINTENANCE_PAUSE)),
        2 | 131_016 | 133_004 | 2_494_100 => Class::Trouble,
        1 | 131_000 => Class::Ambiguous,
        _ => return None,
    })
}

/// What it means that an accepted message failed with this code, at this time: it was surely not
/// sent, so what is Meta's trouble alone is the next route's to send. What is of this file or this
/// customer alone says nothing of other messages.
pub(super) fn late(code: u64, at: Millis) -> Refusal {
    match class(code) {
        _ if code == COUNTRY => Refusal::FailOver(Reason::Undeliverable),
        Some(Class::Link) => Refusal::FailOver(Reason::Unsupported),
        Some(Class::Refused(refusal)) => refusal,
        Some(Class::Trouble | Class::Ambiguous) => Refusal::FailOver(Reason::Failed),
        Some(Class::Later(pause)) => Refusal::Retry { not_before: pause.map(|it| at + it) },
        Some(Class::Wait(pause)) => Refusal::Wait { not_before: at + pause },
        None => Refusal::GiveUp(Reason::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::Late;

    /// Every row of B5: its codes, what may be done on the same route, and whether on another.
    #[test]
    fn every_code_of_the_table_has_its_class() {
        use Reason::*;
        #[track_caller]
        fn check(codes: &[u64], want: Class, late_fails_over: bool) {
            for code in codes {
                assert_eq!(class(*code), Some(want), "{code}");
                let told = late(*code, 5);
                let goes_on = matches!(told, Refusal::FailOver(_) | Refusal::Down(_));
                assert_eq!(goes_on, late_fails_over, "{code}");
                // What was too much is tried again in the same way, told at once or later.
                match want {
                    Class::Later(pause) => {
                        let not_before = pause.map(|it| 5 + it);
                        assert_eq!(told, Refusal::Retry { not_before }, "{code}");
                    }
                    Class::Wait(pause) => {
                        assert_eq!(told, Refusal::Wait { not_before: 5 + pause }, "{code}");
                    }
                    _ => assert!(Late::from(told).again.is_none(), "{code}"),
                }
            }
        }
        let fail_over = |it| Class::Refused(Refusal::FailOver(it));
        let give_up = |it| Class::Refused(Refusal::GiveUp(it));
        check(&[0, 190], fail_over(Unauthorized), true);
        check(&[3, 10, 200, 250, 299, 131_005], fail_over(Unauthorized), true);
        check(&[4, 80_007, 130_429, 613, 17], Class::Later(None), false);
        check(&[131_056], Class::Wait(6_000), false);
        check(&[131_048, 131_064], Class::Refused(Refusal::Park(Quality)), false);
        check(&[368, 131_031, 130_497], fail_over(Restricted), true);
        let codes = [
            133_010, 131_037, 131_045, 133_000, 133_006, 133_015, 136_024, 133_005, 133_008,
            133_009, 133_016,
        ];
        check(&codes, fail_over(NotRegistered), true);
        check(&[131_042, 134_011], fail_over(Plan), true);
        check(&[33, 100, 131_008, 131_009, 131_021, 135_000], give_up(Invalid), false);
        check(&[131_051], give_up(Unsupported), false);
        check(&[131_047], Class::Refused(Refusal::Park(WindowClosed)), false);
        check(&[131_026, 131_030, 130_403], give_up(Undeliverable), false);
        let codes = [131_049, 131_050, 131_055, 131_063, 134_100, 130_472];
        check(&codes, give_up(OptedOut), false);
        check(&[131_062], fail_over(NoPhone), true);
        check(&[131_052], give_up(Invalid), false);
        check(&[131_053], Class::Link, true);
        let codes = [
            132_000, 132_001, 132_005, 132_007, 132_008, 132_012, 132_015, 132_016, 132_018,
            132_068, 132_069, 134_102,
        ];
        check(&codes, give_up(Template), false);
        check(&[134_101], Class::Wait(600_000), false);
        check(&[131_057], Class::Later(Some(20_000)), false);
        check(&[2, 131_016, 133_004, 2_494_100], Class::Trouble, true);
        check(&[1, 131_000], Class::Ambiguous, true);
        for unknown in [5, 300, 131_999, 999_999] {
            assert_eq!((class(unknown), late(unknown, 5)), (None, Refusal::GiveUp(Failed)));
        }
    }
}
