//! A rule over several streams: a course has a capacity, and a student takes a limited number of courses. Neither a course
//! nor a student can keep both rules alone: the boundary is what the decision has read, a dynamic consistency boundary.
//!
//! `cargo run --example courses` keeps the events in memory; a URL as its argument keeps them there.

use annals::{Append, Condition, Error, Expected, NewEvent, Position, Query, Result, Store, Stream};
use serde_json::{Value, json};

const COURSES_OF_A_STUDENT: usize = 3;
const SUBSCRIBED: &str = "StudentSubscribed";

/// What came of a wish.
#[derive(Debug, PartialEq)]
enum Answer {
    Subscribed,
    CourseIsFull,
    StudentIsBusy,
}

/// Defines a course. There is one definition of a course: its stream doesn't exist yet.
async fn define(store: &Store, course: &str, capacity: usize) -> Result<()> {
    let defined =
        NewEvent::json("CourseDefined", &json!({"capacity": capacity}))?.with_tags([tag("course", course)])?;
    store.append(&Stream::new("course", tag("course", course))?, Expected::NoStream, [defined]).await?;
    Ok(())
}

/// Subscribes a student to a course, where both rules allow it.
async fn subscribe(store: &Store, student: &str, course: &str) -> Result<Answer> {
    loop {
        // All that the decision depends on, up to one head.
        let (of_course, of_student) = (tag("course", course), tag("student", student));
        let head = store.heads().await?.first().map_or(Position::ZERO, |(_, head)| *head);
        let course_events = store.query(Query::new().tags([&of_course])?.until(head)).await?;
        let student_events = store.query(Query::new().tags([&of_student])?.until(head)).await?;

        let defined = course_events.iter().find(|event| event.event_type == "CourseDefined");
        let capacity = defined.map_or(Ok(0), |event| event.payload.to::<Value>().map(capacity_of))?;
        let taken = course_events.iter().filter(|event| event.event_type == SUBSCRIBED).count();
        if taken >= capacity {
            return Ok(Answer::CourseIsFull);
        }
        if student_events.len() >= COURSES_OF_A_STUDENT {
            return Ok(Answer::StudentIsBusy);
        }

        // That must still be all there is: no further event of the course, nor of the student.
        let unchanged =
            Condition::after(head).or(["CourseDefined", SUBSCRIBED], [&of_course])?.or([SUBSCRIBED], [&of_student])?;
        let subscribed = NewEvent::json(SUBSCRIBED, &json!({}))?.with_tags([&of_course, &of_student])?;
        let subscription = Stream::new("subscription", format!("{student} in {course}"))?;
        let append = Append::new().to(subscription, Expected::Any, [subscribed]).condition(unchanged);
        match store.commit(append).await {
            Ok(_) => return Ok(Answer::Subscribed),
            Err(Error::ConditionFailed { .. }) => {} // Somebody was faster: read and decide again.
            Err(error) => return Err(error),
        }
    }
}

fn capacity_of(data: Value) -> usize {
    data["capacity"].as_u64().and_then(|capacity| capacity.try_into().ok()).unwrap_or_default()
}

fn tag(kind: &str, name: &str) -> String {
    format!("{kind}:{name}")
}

/// Lets everybody try at once, and counts those who got a place.
async fn race(store: &Store, wishes: impl IntoIterator<Item = (String, String)>) -> Result<Vec<Answer>> {
    let tries = wishes.into_iter().map(|(student, course)| {
        let store = store.clone();
        tokio::spawn(async move { subscribe(&store, &student, &course).await })
    });
    let answers = futures::future::join_all(tries).await;
    answers.into_iter().map(|answer| answer.unwrap_or(Err(Error::Closed))).collect()
}

fn count(answers: &[Answer], wanted: &Answer) -> usize {
    answers.iter().filter(|answer| *answer == wanted).count()
}

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).filter(|argument| argument.contains(':'));
    let store = Store::connect(&url.unwrap_or_else(|| "sqlite::memory:?migrate=auto".to_owned())).await?;
    let term = uuid::Uuid::now_v7();

    // Twenty students race for five places.
    let algebra = format!("algebra {term}");
    define(&store, &algebra, 5).await?;
    let answers = race(&store, (0..20).map(|number| (format!("student {number} {term}"), algebra.clone()))).await?;
    let (got, full) = (count(&answers, &Answer::Subscribed), count(&answers, &Answer::CourseIsFull));
    println!("algebra: {got} of 20 students got one of 5 places, {full} found it full");
    assert_eq!((got, full), (5, 15));

    // One student tries to take ten courses at once.
    let courses: Vec<String> = (0..10).map(|number| format!("seminar {number} {term}")).collect();
    for course in &courses {
        define(&store, course, 5).await?;
    }
    let ada = format!("ada {term}");
    let answers = race(&store, courses.into_iter().map(|course| (ada.clone(), course))).await?;
    let (got, busy) = (count(&answers, &Answer::Subscribed), count(&answers, &Answer::StudentIsBusy));
    println!("ada: got {got} of 10 seminars, and was too busy for {busy}");
    assert_eq!((got, busy), (COURSES_OF_A_STUDENT, 7));

    // Whom a decision does not concern does not disturb it: there is no lock on a course or a student.
    assert_eq!(subscribe(&store, "bob", &format!("unheard of {term}")).await?, Answer::CourseIsFull);
    store.close().await;
    Ok(())
}

#[test]
fn the_example_runs() {
    main().unwrap();
}
