//! No secret and no value of a record is in anything that is logged, at any level, or in the text of any fault.

use aws::secrets::AwsSecrets;
use domain::config::Reference;
use domain::config::SecretSource as _;
use engine::deliver::handle;
use support::page::Page;
use support::proxy::Harm;

use super::deliveries::Rig;
use super::*;

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn nothing_planted_is_said_anywhere() {
    let page = Page::default();
    let written = page.clone();
    // Of this thread, on which everything of this test runs.
    let guard = tracing::subscriber::set_default(aws::telemetry::subscriber("trace", move || written.clone()));
    let mut faults = Vec::new();

    let (queue, proxy) = harmed(Duration::from_secs(60)).await;
    let large = "planted-record ".repeat(MESSAGE_BYTES / 10);
    for (harm, texts) in [
        (None, vec!["planted-record", large.as_str()]),
        (Some(Harm::FailEntry(0, "InternalError", false)), vec!["planted-record"]),
        (Some(Harm::FailEntry(0, "InvalidMessageContents", true)), vec!["planted-record"]),
        (
            Some(Harm::Refuse(
                400,
                "InvalidParameterValue",
                "Value planted-record for parameter MessageBody is invalid",
            )),
            vec!["planted-record"],
        ),
    ] {
        if let Some(harm) = harm {
            proxy.plan("SendMessageBatch", harm, 1);
        }
        faults.extend(queue.send(message(1, &texts)).await.err());
    }
    assert_eq!(faults.len(), 2);
    let received = one(&queue).await;
    let mut damaged = received.message.clone();
    damaged.body = damaged.body.slice(..damaged.body.len() - 1);
    let rig = Rig::new(Duration::from_secs(60), true).await;
    handle(&rig.context, &received.message).await.unwrap();
    faults.extend(handle(&rig.context, &damaged).await.err());
    for text in [
        "planted-record",
        "sluicegate/1\n{\"sync\": \"planted-record\"}\nplanted-record",
        "sluicegate/1\n{}\ns3:batches/none:7",
    ] {
        faults.extend(queue.read(text).await.err());
    }

    let clients = support::aws::clients().await;
    let name = support::aws::name("secret");
    clients
        .secrets_manager()
        .create_secret()
        .name(&name)
        .secret_string(r#"{"token":"planted-secret"}"#)
        .send()
        .await
        .unwrap();
    let secrets = AwsSecrets::new(&Clients::emulator(&proxy.url).await);
    let reference = |field: &str| Reference::Secret { name: name.clone(), field: Some(field.into()) };
    assert_eq!(secrets.get(&reference("token")).await.as_deref(), Ok("planted-secret"));
    faults.extend(secrets.get(&reference("none")).await.err());
    secrets.forget();
    proxy.plan("GetSecretValue", Harm::Refuse(400, "InvalidRequestException", "planted-secret"), 1);
    faults.extend(secrets.get(&reference("token")).await.err());
    tracing::info!("the end of the test");
    drop(guard);

    assert!(proxy.all_done());
    assert_eq!(faults.len(), 8);
    for fault in faults {
        assert!(!format!("{fault} {fault:?}").contains("planted"), "{fault}");
    }
    let logged = page.text();
    assert!(logged.contains("the end of the test") && logged.contains("SQS did not take some messages"), "{logged}");
    // Neither as it is nor in the base64 of a body, whichever of three ways it is aligned.
    for planted in ["planted", "cGxhbnRlZ", "BsYW50ZW", "wbGFudGVk"] {
        let line = logged.lines().find(|line| line.contains(planted));
        assert!(line.is_none(), "{line:?}");
    }
}
