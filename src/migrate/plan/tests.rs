//! The plan from every state of the books that matters.

use rstest::rstest;

use super::*;
use crate::sql::Dialect;

/// What the event store brings here: 008, 009 and 010.
fn store() -> Catalog {
    Catalog::built_in(Dialect::Sqlite, "main")
}

/// The event store's migrations with those of an application.
fn with_own(versions: &[i32]) -> Catalog {
    let own = |version: &i32| Script {
        version: *version,
        name: "own".into(),
        up: format!("up {version}"),
        down: (*version != 102).then(|| format!("down {version}")),
    };
    store().with_scripts(versions.iter().map(own).collect()).unwrap()
}

/// Books that say of these numbers that they were applied as they are known.
fn books(catalog: &Catalog, versions: &[i32]) -> Vec<Applied> {
    let row = |version: &i32| Applied {
        version: *version,
        name: "own".into(),
        checksum: catalog.find(*version).map_or("gone".into(), Script::checksum),
        applied_at: DateTime::UNIX_EPOCH,
    };
    versions.iter().map(row).collect()
}

/// The numbers of the steps; negative ones lead down.
fn steps(catalog: &Catalog, applied: &[i32], target: Target) -> Result<Vec<i32>, Fault> {
    let number = |step: &Step<'_>| match step.direction {
        Direction::Up => step.script.version,
        Direction::Down => -step.script.version,
    };
    Ok(plan(catalog, &books(catalog, applied), target)?.iter().map(number).collect())
}

#[rstest]
#[case::fresh(&[], Target::Newest, &[8, 9, 10, 11])]
#[case::half_way(&[8], Target::Newest, &[9, 10, 11])]
#[case::all_there(&[8, 9, 10, 11], Target::Newest, &[])]
#[case::up_to(&[], Target::UpTo(8), &[8])]
#[case::up_to_what_is_passed(&[8, 9], Target::UpTo(8), &[])]
#[case::down_one(&[8, 9], Target::DownTo(8), &[-9])]
#[case::down_all(&[8, 9], Target::DownTo(7), &[-9, -8])]
#[case::down_from_nothing(&[], Target::DownTo(0), &[])]
#[case::the_application_s_are_not_asked_about_without_a_directory(&[3, 8, 100], Target::Newest, &[9, 10, 11])]
fn of_the_store_alone(#[case] applied: &[i32], #[case] target: Target, #[case] expected: &[i32]) {
    assert_eq!(steps(&store(), applied, target).unwrap(), expected);
}

#[rstest]
#[case::by_number(&[], Target::Newest, &[1, 2, 8, 9, 10, 11, 100, 101])]
#[case::the_store_s_later_release_below_the_application_s(&[1, 2, 8, 9, 100, 101], Target::Newest, &[10, 11])]
#[case::the_store_joins_an_application(&[1, 2], Target::Newest, &[8, 9, 10, 11, 100, 101])]
#[case::the_application_joins_a_store(&[8, 9, 10, 11], Target::Newest, &[1, 2, 100, 101])]
#[case::up_to_one_of_its_own(&[], Target::UpTo(2), &[1, 2])]
#[case::down_past_the_store(&[1, 2, 8, 9, 100, 101], Target::DownTo(7), &[-101, -100, -9, -8])]
#[case::down_to_nothing(&[1, 2, 8], Target::DownTo(0), &[-8, -2, -1])]
fn with_the_application_s(#[case] applied: &[i32], #[case] target: Target, #[case] expected: &[i32]) {
    assert_eq!(steps(&with_own(&[1, 2, 100, 101]), applied, target).unwrap(), expected);
}

#[rstest]
#[case::newer(&store(), &[8, 9, 10, 11, 12], Target::Newest, "012_own")]
#[case::newer_than_this_on_the_way_down(&store(), &[8, 9, 10, 11, 12], Target::DownTo(8), "beyond 011")]
#[case::hole_in_the_store_s(&store(), &[9], Target::Newest, "008_create_event_store was never applied, and 009")]
#[case::hole_in_the_application_s(&with_own(&[1, 2, 100]), &[1, 100], Target::Newest, "002_own was never applied")]
#[case::two_in_a_hole(
    &with_own(&[100, 101, 102, 103, 104]), &[8, 9, 100, 103], Target::Newest,
    "migrations 101_own, 102_own were never applied, and 103, which comes later, was"
)]
#[case::hole_below_the_target(&with_own(&[100, 101, 103]), &[100, 103], Target::UpTo(9), "101_own was never applied")]
#[case::hole_on_the_way_down(&with_own(&[1, 2]), &[2], Target::DownTo(0), "001_own was never applied")]
#[case::file_is_gone(&with_own(&[100]), &[100, 101], Target::Newest, "101_own was applied, and its file is not")]
#[case::no_directory(&store(), &[8, 9, 100], Target::DownTo(8), "100_own is the application's")]
#[case::no_way_back(&with_own(&[102]), &[8, 9, 102], Target::DownTo(7), "102_own has no down file")]
#[case::no_such_target(&store(), &[], Target::UpTo(12), "no migration 012; there are: 008, 009, 010, 011")]
fn is_refused_where(
    #[case] catalog: &Catalog,
    #[case] applied: &[i32],
    #[case] target: Target,
    #[case] expected: &str,
) {
    let message = steps(catalog, applied, target).unwrap_err().to_string();
    assert!(message.contains(expected), "{message}");
}

#[rstest]
fn a_changed_migration_stops_everything(
    #[values(Target::Newest, Target::UpTo(8), Target::DownTo(0), Target::DownTo(9))] target: Target,
) {
    let catalog = store();
    let mut applied = books(&catalog, &[8, 9]);
    applied[0].checksum = "0".repeat(64);
    let fault = plan(&catalog, &applied, target).unwrap_err();
    assert!(matches!(&fault, Fault::Changed { label, .. } if label == "008_create_event_store"), "{fault}");
}
