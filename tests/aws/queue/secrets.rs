//! Secrets that are there, missing, denied, rotated.

use aws::secrets::AwsSecrets;
use domain::config::SecretSource as _;
use domain::config::{Reference, Secret};
use domain::fault::{Code, Fault};
use support::aws::{clients, name};
use support::proxy::Harm;

use super::*;

/// A secret of Secrets Manager; its name.
async fn stored(value: &str) -> String {
    let name = name("secret");
    clients().await.secrets_manager().create_secret().name(&name).secret_string(value).send().await.unwrap();
    name
}

fn reference(name: &str, field: Option<&str>) -> Reference {
    Reference::Secret { name: name.into(), field: field.map(Into::into) }
}

fn assert_says(fault: &Fault, parts: &[&str]) {
    let text = fault.to_string();
    assert_eq!(fault.code, Code::SecretMissing);
    assert!(parts.iter().all(|part| text.contains(part)) && !text.contains("planted"), "{text}");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn secrets_are_found_by_reference() {
    let clients = clients().await;
    let name = stored(r#"{"token":"planted-secret","port":5432}"#).await;
    let parameter = format!("/{}", support::aws::name("parameter"));
    clients
        .ssm()
        .put_parameter()
        .name(&parameter)
        .r#type("SecureString".into())
        .value("planted-parameter")
        .send()
        .await
        .unwrap();
    let secrets = AwsSecrets::new(&clients);
    assert_eq!(secrets.get(&reference(&name, Some("token"))).await.as_deref(), Ok("planted-secret"));
    assert_eq!(secrets.get(&reference(&name, Some("port"))).await.as_deref(), Ok("5432"));
    assert_eq!(secrets.get(&reference(&parameter, None)).await.as_deref(), Ok("planted-parameter"));
    let written = Secret::new(format!("Bearer ${{secret:{name}#token}}")).unwrap();
    assert_eq!(written.resolve(&secrets).await.as_deref(), Ok("Bearer planted-secret"));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn what_is_missing_names_the_reference_and_what_to_do() {
    let secrets = AwsSecrets::new(&clients().await);
    let name = stored(r#"{"token":"planted-secret"}"#).await;
    assert_says(&secrets.get(&reference(&name, Some("key"))).await.unwrap_err(), &[&name, "has no field `key`"]);
    assert_says(
        &secrets.get(&reference("no-such-secret", None)).await.unwrap_err(),
        &["${secret:no-such-secret}", "does not exist", "create-secret"],
    );
    assert_says(
        &secrets.get(&reference("/no/such", None)).await.unwrap_err(),
        &["${secret:/no/such}", "does not exist", "put-parameter"],
    );
    assert_says(
        &secrets.get(&Reference::Env("SLUICEGATE_NO_SUCH".into())).await.unwrap_err(),
        &["SLUICEGATE_NO_SUCH", "is not set"],
    );
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn who_is_denied_is_told_the_permission() {
    let proxy = Proxy::start(endpoint()).await;
    let secrets = AwsSecrets::new(&Clients::emulator(&proxy.url).await);
    let words = "User u is not authorized to perform: secretsmanager:GetSecretValue on resource: crm";
    proxy.plan("GetSecretValue", Harm::Refuse(400, "AccessDeniedException", words), 1);
    assert_says(
        &secrets.get(&reference("crm", None)).await.unwrap_err(),
        &["${secret:crm}", "User u is not authorized", "secretsmanager:GetSecretValue"],
    );
    proxy.plan("GetSecretValue", Harm::Refuse(400, "DecryptionFailure", "planted-secret"), 1);
    assert_says(&secrets.get(&reference("crm", None)).await.unwrap_err(), &["cannot be decrypted", "kms:Decrypt"]);
    proxy.plan(
        "GetParameter",
        Harm::Refuse(400, "AccessDeniedException", "User u is not authorized to perform: ssm:GetParameter"),
        1,
    );
    assert_says(
        &secrets.get(&reference("/crm", None)).await.unwrap_err(),
        &["${secret:/crm}", "User u is not authorized", "ssm:GetParameter"],
    );
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_value_is_kept_until_it_is_forgotten() {
    let proxy = Proxy::start(endpoint()).await;
    let secrets = AwsSecrets::new(&Clients::emulator(&proxy.url).await);
    let name = stored(r#"{"token":"planted-old","key":"planted-key"}"#).await;
    let token = reference(&name, Some("token"));
    assert_eq!(secrets.get(&token).await.as_deref(), Ok("planted-old"));
    clients()
        .await
        .secrets_manager()
        .put_secret_value()
        .secret_id(&name)
        .secret_string(r#"{"token":"planted-new"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(secrets.get(&token).await.as_deref(), Ok("planted-old"));
    assert_eq!(secrets.get(&reference(&name, Some("key"))).await.as_deref(), Ok("planted-key"));
    assert_eq!(proxy.requests("GetSecretValue"), 1, "one read for all its fields");
    secrets.forget();
    assert_eq!(secrets.get(&token).await.as_deref(), Ok("planted-new"), "as after a rotation");
    let unkept = AwsSecrets::new(&Clients::emulator(&proxy.url).await).kept_for(Duration::ZERO);
    let before = proxy.requests("GetSecretValue");
    for _ in 0..2 {
        unkept.get(&token).await.unwrap();
    }
    assert_eq!(proxy.requests("GetSecretValue"), before + 2);
}
