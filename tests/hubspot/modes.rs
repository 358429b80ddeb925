//! What each operation does, and how records are matched.

use domain::mode::Op;
use domain::outcome::{Effect, Outcome};
use domain::value::{Type, Value as Cell};
use serde_json::json;

use crate::rig::{Records, double, letters, open, open_with, rejection};

#[tokio::test]
async fn upsert_creates_updates_and_keeps_record_ids() {
    for version in ["v3", "2026-03", "2026-09"] {
        for echoed in [true, false] {
            let double = double();
            double.portal().echoes_trace_ids = echoed;
            let there = double.portal().add("contacts", &[("crm_id", "b"), ("firstname", "Old"), ("lastname", "Kept")]);
            let hub = open_with(&double, json!({ "version": version }), "contacts", json!({})).await;
            let outcomes =
                Records::contacts(&[("a", "Ada"), ("b", "Bob"), ("c", "Cleo")]).write(&*hub, Op::Upsert).await.unwrap();
            assert_eq!(
                letters(&outcomes),
                "CUC",
                "{version}: in the order of the batch, whatever the order of the results"
            );
            assert!(
                matches!(&outcomes[1], Outcome::Accepted { record_id: Some(id), .. } if *id == there.to_string()),
                "{outcomes:?}"
            );
            let by = double.portal().objects["contacts"].by("crm_id");
            assert_eq!((by["b"]["firstname"].as_str(), by["b"]["lastname"].as_str(), by.len()), ("Bob", "Kept", 3));
            let traces: Vec<String> = double.portal().requests.last().unwrap().body["inputs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|i| i["objectWriteTraceId"].as_str().unwrap().into())
                .collect();
            assert_eq!(traces, ["0", "1", "2"]);
        }
    }
}

#[tokio::test]
async fn a_bad_record_is_taken_apart_and_stops_no_other() {
    for version in ["v3", "2026-09"] {
        let double = double();
        let hub = open_with(&double, json!({ "version": version }), "contacts", json!({})).await;
        let row = |id: &'static str, email: &'static str, score: &'static str| {
            vec![Cell::Text(id), Cell::Text(email), Cell::Decimal(score)]
        };
        let rows = [
            row("a", "ada@h.test", "1"),
            row("b", "bob@", "2"),
            row("c", "cleo@h.test", "1001"),
            row("d", "dan@h.test", "4"),
        ];
        let records = Records::new(&[("crm_id", Type::Text), ("email", Type::Text), ("score", Type::Decimal)], &rows);
        let outcomes = records.write(&*hub, Op::Upsert).await.unwrap();
        assert_eq!(letters(&outcomes), "CRRC");
        assert_eq!(
            rejection(&outcomes[1]),
            ("INVALID_EMAIL", "`email`: Email address bob@ is invalid [INVALID_EMAIL]")
        );
        let (code, detail) = rejection(&outcomes[2]);
        assert!(
            code == "PROPERTY_VALIDATION_RULE" && detail.contains("`score`") && detail.contains("1001"),
            "{detail}"
        );
        assert_eq!(double.portal().count("upsert"), 1);
    }
}

#[tokio::test]
async fn what_is_there_under_another_key_is_a_conflict_of_one_record() {
    let double = double();
    double.portal().add("contacts", &[("email", "ada@h.test")]);
    let hub = open(&double).await;
    let rows = [vec![Cell::Text("a"), Cell::Text("ada@h.test")], vec![Cell::Text("b"), Cell::Text("bob@h.test")]];
    let outcomes =
        Records::new(&[("crm_id", Type::Text), ("email", Type::Text)], &rows).write(&*hub, Op::Upsert).await.unwrap();
    assert_eq!(letters(&outcomes), "RC");
    assert_eq!(rejection(&outcomes[0]).0, "CONFLICT");
}

#[tokio::test]
async fn keys_that_occur_twice_are_refused_before_they_are_sent() {
    let double = double();
    let hub = open(&double).await;
    let outcomes =
        Records::contacts(&[("a", "x"), ("b", "y"), ("a", "z"), ("", "w")]).write(&*hub, Op::Upsert).await.unwrap();
    assert_eq!(letters(&outcomes), "RCRR");
    assert_eq!((rejection(&outcomes[0]).0, rejection(&outcomes[3]).0), ("duplicate_identifier", "identifier_missing"));
    // Addresses are the same in any case.
    let rows = [vec![Cell::Text("Ada@h.test")], vec![Cell::Text("ada@h.test ")]];
    let outcomes = Records::new(&[("email", Type::Text)], &rows).write(&*hub, Op::Upsert).await.unwrap();
    assert_eq!(letters(&outcomes), "RR");
    assert_eq!(double.portal().count("upsert"), 1);
}

#[tokio::test]
async fn update_finds_records_in_three_ways_and_never_creates() {
    let double = double();
    let ada = double.portal().add("contacts", &[("crm_id", "a"), ("email", "ada@h.test")]).to_string();
    double
        .portal()
        .add("contacts", &[("crm_id", "b"), ("email", "bob@h.test"), ("hs_additional_emails", "robert@h.test")]);
    let hub = open(&double).await;
    let write = async |field: &str, ids: &[&str], name: &str| {
        let rows: Vec<Vec<Cell<'_>>> = ids.iter().map(|id| vec![Cell::Text(id), Cell::Text(name)]).collect();
        let records = Records::new(&[(field, Type::Text), ("firstname", Type::Text)], &rows);
        let needs = records.requests(&*hub, Op::Update);
        let before = double.portal().requests.len();
        let outcomes = records.write(&*hub, Op::Update).await.unwrap();
        let made = double.portal().requests[before..].iter().filter(|r| r.method == "POST").count();
        assert!(made <= needs as usize, "{field}: {made} requests, {needs} slots");
        outcomes
    };
    for (field, ids, name) in [
        ("crm_id", ["a", "nobody", "b"], "One"),
        ("email", ["Ada@H.test", "no@h.test", "robert@h.test"], "Two"),
        ("hs_object_id", [ada.as_str(), "999", "102"], "Three"),
    ] {
        let outcomes = write(field, &ids, name).await;
        assert_eq!(letters(&outcomes), "USU", "{field}");
        assert_eq!(outcomes[1], Outcome::Skipped { reason: "not_found".into() });
        let by = double.portal().objects["contacts"].by("crm_id");
        assert_eq!(
            (by.len(), by["a"]["firstname"].as_str(), by["b"]["firstname"].as_str()),
            (2, name, name),
            "{field}"
        );
    }
}

#[tokio::test]
async fn append_creates_every_time() {
    let double = double();
    let hub = open(&double).await;
    let records = Records::new(
        &[("firstname", Type::Text)],
        &[vec![Cell::Text("Ada")], vec![Cell::Text("Ada")], vec![Cell::Null]],
    );
    assert_eq!(letters(&records.write(&*hub, Op::Append).await.unwrap()), "CCC");
    assert_eq!(letters(&records.write(&*hub, Op::Append).await.unwrap()), "CCC");
    assert_eq!(double.portal().objects["contacts"].records.len(), 6);
    let unique = Records::contacts(&[("a", "Ada")]);
    assert_eq!(letters(&unique.write(&*hub, Op::Append).await.unwrap()), "C");
    assert_eq!(
        rejection(&unique.write(&*hub, Op::Append).await.unwrap()[0]).0,
        "CONFLICT",
        "a unique property keeps it from being there twice"
    );
}

#[tokio::test]
async fn deletes_archive_by_record_id() {
    let double = double();
    let ids: Vec<String> =
        ["a", "b", "c"].iter().map(|id| double.portal().add("contacts", &[("crm_id", id)]).to_string()).collect();
    let hub = open(&double).await;
    let all = Records::contacts(&[("a", ""), ("b", ""), ("nobody", "")]).with_ids(&[Some(&ids[0]), None, None]);
    for _ in 0..2 {
        assert_eq!(all.write(&*hub, Op::Delete).await.unwrap(), vec![Outcome::accepted(Effect::Deleted); 3]);
        assert_eq!(double.portal().objects["contacts"].by("crm_id").into_keys().collect::<Vec<_>>(), ["c"]);
    }
    double.portal().forget();
    let known = Records::contacts(&[("c", "")]).with_ids(&[Some(&ids[2])]);
    assert_eq!((known.requests(&*hub, Op::Delete), all.requests(&*hub, Op::Delete)), (1, 2));
    assert_eq!(letters(&known.write(&*hub, Op::Delete).await.unwrap()), "D");
    let portal = double.portal();
    assert_eq!((portal.count("archive"), portal.count("read")), (1, 0), "an id that is known is not looked up");
}

#[tokio::test]
async fn values_arrive_as_hubspot_keeps_them_and_read_back() {
    let double = double();
    let hub = open(&double).await;
    let fields = [
        ("crm_id", Type::Text),
        ("email", Type::Text),
        ("score", Type::Decimal),
        ("birthday", Type::Date),
        ("seen_at", Type::Timestamp),
        ("vip", Type::Bool),
        ("lifecyclestage", Type::Text),
        ("interests", Type::Text),
        ("firstname", Type::Text),
        ("lastname", Type::Text),
    ];
    let row = vec![
        Cell::Text("a"),
        Cell::Text("Ada@H.test"),
        Cell::Decimal("12.5"),
        Cell::Date(20_455),
        Cell::Timestamp(1_767_323_045_678_901),
        Cell::Bool(true),
        Cell::Text("Customer"),
        Cell::Text("Gamma;a"),
        Cell::Text("é🌊 \"quoted\""),
        Cell::Missing,
    ];
    let records = Records::new(&fields, &[row]);
    assert_eq!(letters(&records.write(&*hub, Op::Upsert).await.unwrap()), "C");
    let kept = double.portal().objects["contacts"].by("crm_id")["a"].clone();
    for (name, value) in [
        ("email", "ada@h.test"),
        ("score", "12.5"),
        ("birthday", "2026-01-02"),
        ("seen_at", "2026-01-02T03:04:05.678Z"),
        ("vip", "true"),
        ("lifecyclestage", "customer"),
        ("interests", "a;c"),
        ("firstname", "é🌊 \"quoted\""),
    ] {
        assert_eq!(kept[name], value, "{name}");
    }
    assert_eq!(records.read(&*hub).await, records.as_stored(&*hub), "what was accepted and what is there are the same");
    let cleared = Records::new(
        &[("crm_id", Type::Text), ("score", Type::Decimal), ("firstname", Type::Text)],
        &[vec![Cell::Text("a"), Cell::Null, Cell::Text("")]],
    );
    cleared.write(&*hub, Op::Upsert).await.unwrap();
    let kept = double.portal().objects["contacts"].by("crm_id")["a"].clone();
    assert!(!kept.contains_key("score") && !kept.contains_key("firstname") && kept.contains_key("vip"), "{kept:?}");
    assert_eq!(cleared.read(&*hub).await, cleared.as_stored(&*hub));
    assert_eq!(
        Records::contacts(&[("nobody", "x"), ("a", "y")])
            .read(&*hub)
            .await
            .iter()
            .map(Option::is_some)
            .collect::<Vec<_>>(),
        [false, true]
    );
}

#[tokio::test]
async fn a_text_that_is_too_long_is_refused_and_not_sent() {
    let double = double();
    let hub = open(&double).await;
    let (long, fits) = ("x".repeat(65_537), "é".repeat(65_536));
    let outcomes = Records::contacts(&[("a", &long), ("b", &fits)]).write(&*hub, Op::Upsert).await.unwrap();
    assert_eq!(letters(&outcomes), "RC");
    let (code, detail) = rejection(&outcomes[0]);
    assert!(
        code == "too_long" && detail.contains("`firstname`") && detail.contains("65536") && !detail.contains("xx"),
        "{detail}"
    );
}
