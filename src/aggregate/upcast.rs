//! Events of earlier versions: how their data becomes that of the version that the program knows.

use serde_json::Value;

use crate::error::{Error, Result};

/// An event type and the version of its data's schema.
pub(super) type Shape<'a> = (&'a str, i32);

/// A step from one shape of an event to the next: another version of its data, another name, or both.
///
/// It sees the raw JSON and has no say in whether the event exists: what it can't make sense of it returns as it is, and
/// decoding tells what is wrong with it. What is stored never changes. Exports, imports and copies of the log do not
/// upcast.
///
/// ```
/// use annals::Upcaster;
/// use serde_json::json;
/// const UPCASTERS: &[Upcaster] = &[
///     // Version 1 was in euros, version 2 is in cents.
///     Upcaster::new(("Deposited", 1), ("Deposited", 2), |data| {
///         json!({"cents": data["euros"].as_i64().unwrap_or_default() * 100})
///     }),
///     Upcaster::rename("Shut", "Closed"),
/// ];
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Upcaster {
    from: Shape<'static>,
    to: Shape<'static>,
    convert: fn(Value) -> Value,
}

impl Upcaster {
    /// Makes a step from an event type and version to another, by a function over the data.
    #[must_use]
    pub const fn new(from: (&'static str, i32), to: (&'static str, i32), convert: fn(Value) -> Value) -> Self {
        Self { from, to, convert }
    }

    /// Makes a step from version 1 of a type to version 1 of another, whose data is the same.
    #[must_use]
    pub const fn rename(from: &'static str, to: &'static str) -> Self {
        Self::new((from, 1), (to, 1), |data| data)
    }
}

/// Returns the current version of an event type: 1, unless it is listed with another.
pub(super) fn version_of(versions: &[Shape<'_>], name: &str) -> i32 {
    versions.iter().find(|(listed, _)| *listed == name).map_or(1, |(_, version)| *version)
}

fn next<'a>(upcasters: &'a [Upcaster], shape: Shape<'_>) -> Option<&'a Upcaster> {
    upcasters.iter().find(|step| step.from == shape)
}

/// Leads data from its stored shape to the end of its chain. The error is a reason.
pub(super) fn upcast(
    upcasters: &[Upcaster],
    stored: Shape<'_>,
    data: &str,
) -> Result<Option<(Shape<'static>, Value)>, String> {
    let Some(mut step) = next(upcasters, stored) else { return Ok(None) };
    let mut value = serde_json::from_str(data).map_err(|error| format!("before upcasting: {error}"))?;
    // No chain is longer than there are steps, unless it goes in circles, which the check of the registry names.
    for _ in upcasters {
        value = (step.convert)(value);
        match next(upcasters, step.to) {
            Some(further) => step = further,
            None => break,
        }
    }
    Ok(Some((step.to, value)))
}

/// Checks that every shape that is listed leads to a current one, in one way.
pub(super) fn check(names: &[&str], versions: &[Shape<'_>], upcasters: &[Upcaster]) -> Result<()> {
    check_versions(names, versions)?;
    for (index, step) in upcasters.iter().enumerate() {
        if step.from.1 < 1 || step.to.1 < 1 {
            return Err(wrong(format!(
                "the upcaster from {} to {} names a version below 1",
                at(step.from),
                at(step.to)
            )));
        }
        if upcasters[..index].iter().any(|earlier| earlier.from == step.from) {
            return Err(wrong(format!("two upcasters begin with {}", at(step.from))));
        }
    }
    let is_current = |(name, version): Shape<'_>| names.contains(&name) && version_of(versions, name) == version;
    for step in upcasters {
        check_chain(upcasters, step, is_current)?;
    }
    for name in names {
        check_gaps(name, version_of(versions, name), upcasters)?;
    }
    Ok(())
}

fn check_versions(names: &[&str], versions: &[Shape<'_>]) -> Result<()> {
    for (index, (name, version)) in versions.iter().enumerate() {
        if !names.contains(name) {
            return Err(wrong(format!("a version is given for {name}, and there are: {}", names.join(", "))));
        }
        if *version < 1 {
            return Err(wrong(format!("the version of {name} is {version}, and versions begin with 1")));
        }
        if versions[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(wrong(format!("two versions are given for {name}")));
        }
    }
    Ok(())
}

/// Follows the chain that begins with a step.
fn check_chain(upcasters: &[Upcaster], first: &Upcaster, is_current: impl Fn(Shape<'_>) -> bool) -> Result<()> {
    let mut path = vec![first.from];
    let mut step = first;
    loop {
        let seen = path.contains(&step.to);
        path.push(step.to);
        if seen {
            let path: Vec<String> = path.into_iter().map(at).collect();
            return Err(wrong(format!("upcasters go in a circle: {}", path.join(", "))));
        }
        match next(upcasters, step.to) {
            Some(further) => step = further,
            None => break,
        }
    }
    if is_current(first.from) {
        return Err(wrong(format!("an upcaster begins with {}, which is current: raise its version", at(first.from))));
    }
    if !is_current(step.to) {
        let (from, to) = (at(first.from), at(step.to));
        return Err(wrong(format!("upcasters lead from {from} to {to}, which is not current, and end there")));
    }
    Ok(())
}

/// Checks that each version of a type before the current one leads on: those from 1 on, or, where the type took the
/// place of another, those since.
fn check_gaps(name: &str, current: i32, upcasters: &[Upcaster]) -> Result<()> {
    let entered = upcasters.iter().filter(|step| step.to.0 == name && step.from.0 != name).map(|step| step.to.1).min();
    let gap = (entered.unwrap_or(1)..current).find(|version| next(upcasters, (name, *version)).is_none());
    match gap {
        None => Ok(()),
        Some(version) => {
            let reason =
                format!("no upcaster begins with {}, and {} is current", at((name, version)), at((name, current)));
            Err(wrong(reason))
        }
    }
}

fn at((name, version): Shape<'_>) -> String {
    format!("{name} version {version}")
}

fn wrong(reason: String) -> Error {
    Error::invalid("registry of events", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn step(from: Shape<'static>, to: Shape<'static>) -> Upcaster {
        Upcaster::new(from, to, |data| data)
    }

    #[rstest::rstest]
    #[case::nothing(&[], &[])]
    #[case::a_chain(&[("A", 3)], &[step(("A", 1), ("A", 2)), step(("A", 2), ("A", 3))])]
    #[case::a_leap(&[("A", 3)], &[step(("A", 1), ("A", 3)), step(("A", 2), ("A", 3))])]
    #[case::a_renamed_type(&[], &[Upcaster::rename("Old", "A")])]
    #[case::two_types_that_became_one(&[], &[Upcaster::rename("Old", "A"), Upcaster::rename("Older", "A")])]
    #[case::a_type_that_continues_another(&[("A", 3)], &[step(("Old", 1), ("Old", 2)), step(("Old", 2), ("A", 3))])]
    fn a_sound_registry_passes(#[case] versions: &[Shape<'static>], #[case] upcasters: &[Upcaster]) {
        check(&["A", "B"], versions, upcasters).unwrap();
    }

    #[rstest::rstest]
    #[case::of_an_unknown_type(&[("C", 2)], &[], "a version is given for C, and there are: A, B")]
    #[case::below_1(&[("A", 0)], &[], "the version of A is 0")]
    #[case::twice(&[("A", 2), ("A", 3)], &[], "two versions are given for A")]
    #[case::a_step_from_below_1(&[("A", 1)], &[step(("A", 0), ("A", 1))], "from A version 0 to A version 1")]
    #[case::a_duplicate(
        &[("A", 2)],
        &[step(("A", 1), ("A", 2)), step(("A", 1), ("B", 1))],
        "two upcasters begin with A version 1"
    )]
    #[case::a_circle(
        &[],
        &[step(("Old", 1), ("Old", 2)), step(("Old", 2), ("Old", 1))],
        "in a circle: Old version 1, Old version 2, Old version 1"
    )]
    #[case::a_step_to_itself(&[], &[step(("Old", 1), ("Old", 1))], "in a circle: Old version 1, Old version 1")]
    #[case::a_dead_end(
        &[],
        &[step(("Old", 1), ("Old", 2))],
        "from Old version 1 to Old version 2, which is not current"
    )]
    #[case::an_end_of_an_old_version(&[("A", 3)], &[step(("Old", 1), ("A", 2))], "to A version 2, which is not current")]
    #[case::a_gap_at_the_end(&[("A", 3)], &[step(("A", 1), ("A", 3))], "no upcaster begins with A version 2")]
    #[case::a_gap_at_the_beginning(&[("A", 3)], &[step(("A", 2), ("A", 3))], "no upcaster begins with A version 1")]
    #[case::no_upcaster_at_all(&[("B", 2)], &[], "no upcaster begins with B version 1, and B version 2 is current")]
    #[case::a_step_from_the_current(&[], &[step(("A", 1), ("B", 1))], "begins with A version 1, which is current")]
    fn what_is_wrong_is_named(#[case] versions: &[Shape<'static>], #[case] upcasters: &[Upcaster], #[case] says: &str) {
        let error = check(&["A", "B"], versions, upcasters).unwrap_err().to_string();
        assert!(error.contains(says), "{error:?} does not say {says:?}");
    }

    #[test]
    fn data_goes_through_each_step_of_its_chain() {
        const STEPS: &[Upcaster] = &[
            Upcaster::new(("A", 2), ("B", 1), |data| serde_json::json!({"b": data})),
            Upcaster::new(("A", 1), ("A", 2), |data| serde_json::json!({"a": data})),
        ];
        let (shape, value) = upcast(STEPS, ("A", 1), "7").unwrap().unwrap();
        assert_eq!((shape, value.to_string()), (("B", 1), r#"{"b":{"a":7}}"#.to_owned()));
        assert!(upcast(STEPS, ("B", 1), "7").unwrap().is_none());
        assert!(upcast(STEPS, ("A", 3), "7").unwrap().is_none());
    }

    #[test]
    fn a_circle_that_was_not_checked_ends() {
        const STEPS: &[Upcaster] = &[Upcaster::rename("A", "B"), Upcaster::rename("B", "A")];
        assert!(upcast(STEPS, ("A", 1), "7").unwrap().is_some());
    }
}
