use std::time::Duration;

use super::super::crowd::{
    Joined, ROOM, Tally, ahead_outside, all_are_granted, joined, look_again, room,
    waits_for_shorter,
};

/// Of so many that were made so many are gone, as ZooKeeper tells it.
fn tally(made: i32, gone: i32) -> Tally {
    let leases = made - gone;
    Tally::of(made + gone, leases)
}

#[test]
fn zookeeper_counts_made_and_deleted() {
    let five = Tally {
        leases: 3,
        made: 5,
        given_back: 2,
    };
    assert_eq!(tally(5, 2), five);
    assert_eq!(tally(9, 4).given_back_since(tally(5, 2)), 2);
    // Its counter wraps, and ours with it.
    let before = Tally::of(i32::MAX - 1, 1);
    let after = Tally::of(i32::MIN + 2, 0);
    assert_eq!(after.given_back_since(before), 3);
    let last = Tally {
        leases: 0,
        made: u32::MAX / 2,
        given_back: u32::MAX / 2,
    };
    let first = Tally {
        leases: 0,
        made: 1,
        given_back: 1,
    };
    assert_eq!(first.given_back_since(last), 2);
}

#[test]
fn there_is_room_for_who_holds_and_for_a_few() {
    assert_eq!(room(1, None), ROOM);
    assert_eq!(room(1000, None), 1000);
    assert_eq!(room(1000, Some(60)), 1000 + ROOM);
    assert_eq!(room(u64::MAX, Some(60)), u64::MAX);
}

#[test]
fn a_short_queue_is_not_read_unless_it_is_older_than_our_place_in_it() {
    assert!(all_are_granted(69, tally(70, 67), 3));
    assert!(all_are_granted(69, tally(71, 69), 3));
    assert!(!all_are_granted(69, tally(71, 67), 3));
    // A server that has not heard of it yet has not heard of others before it either.
    assert!(!all_are_granted(69, tally(69, 68), 3));
}

/// Every queue of a few leases, whoever of them is gone: what the counts say is what the list says, or nothing.
#[test]
fn no_count_grants_what_the_list_does_not() {
    const MADE: u32 = 9;
    for present in 0_u32..1 << MADE {
        let below = |number: u32| (present & ((1 << number) - 1)).count_ones();
        // When so many were made, with the fewest that can have been there: who is there in the end, was then.
        let then = |made: u32| tally(made.cast_signed(), (made - below(made)).cast_signed());
        let now = then(MADE);
        for number in (0..MADE).filter(|number| present & (1 << number) != 0) {
            let before = u64::from(below(number));
            for limit in 0..=u64::from(MADE) {
                for (room, made) in (limit..=u64::from(MADE))
                    .flat_map(|room| (0..=number).map(move |made| (room, made)))
                {
                    let joined = joined(number.into(), (then(made), now), (limit, room));
                    match joined {
                        Joined::Granted => assert!(before < limit, "{present:b} {number} {limit}"),
                        // Whoever is granted a lease keeps it.
                        Joined::Crowded => {
                            assert!(before >= room, "{present:b} {number} {room}");
                        }
                        Joined::Queued => {}
                    }
                    // The first is never sent away, so somebody gets on.
                    if before == 0 && limit > 0 {
                        assert_ne!(joined, Joined::Crowded);
                    }
                }
            }
        }
    }
}

#[test]
fn who_comes_first_of_many_is_granted_a_lease_without_the_list() {
    // Twenty were there, five of them are gone, and then hundreds came at once.
    let crowd = tally(600, 5);
    let one = |number, limit| joined(number, (tally(20, 5), crowd), (limit, limit.max(ROOM)));
    assert_eq!(one(20, 16), Joined::Granted);
    assert_eq!(one(20, 15), Joined::Queued);
    assert_eq!(one(104, 100), Joined::Granted);
    assert_eq!(one(105, 100), Joined::Crowded);
    // Its number says that it was made before, so nothing was counted before.
    assert_eq!(one(19, 100), Joined::Queued);
    // Nobody ever was there.
    let first = joined(0, (Tally::default(), crowd), (1, ROOM));
    assert_eq!(first, Joined::Granted);
    // Another queue, of which nothing was counted before: five are before the sixth.
    let other = joined(5, (tally(5, 4), tally(70, 1)), (4, ROOM));
    assert_eq!(other, Joined::Queued);
}

#[test]
fn a_long_list_is_not_read_before_it_had_time_to_get_short() {
    let waits = |leases, waited_ms, trip_ms| {
        let [waited, trip] = [waited_ms, trip_ms].map(Duration::from_millis);
        waits_for_shorter(tally(leases, 0), waited, trip)
    };
    assert!(!waits(64, 0, 5));
    assert!(!waits(128, 0, 5));
    assert!(waits(129, 1999, 5));
    assert!(!waits(129, 2000, 5));
    // The server takes a second for each request.
    assert!(waits(129, 7999, 1000));
    assert!(!waits(10_000, 8000, 1000));
    assert!(!waits_for_shorter(
        tally(129, 0),
        Duration::MAX,
        Duration::MAX
    ));
}

#[test]
fn who_waits_looks_at_the_pace_of_the_queue() {
    let look = |waited_ms, given_back, ahead| {
        let waited = Duration::from_millis(waited_ms);
        look_again(waited, given_back, ahead).as_millis()
    };
    // A hundred a second: six times in the time of a thousand.
    assert_eq!(look(1000, 100, ahead_outside(1000)), 1660);
    assert_eq!(look(1660, 166, ahead_outside(1000)), 1660);
    assert_eq!(ahead_outside(3), 1);
    // Nothing moves: seldom, but not never.
    assert_eq!(look(1000, 0, 125), 2000);
    assert_eq!(look(16_000, 0, 125), 20_000);
    assert_eq!(look(u64::MAX, 0, 125), 20_000);
    // It moves slowly, or has only begun to.
    assert_eq!(look(1000, 1, u64::MAX), 2000);
    assert_eq!(look(200_000, 1, 125), 300_000);
    // However fast it moves.
    assert_eq!(look(1000, u32::MAX, 1), 100);
    assert_eq!(look(0, 0, 0), 100);
}
