//! Builds and deploys the stack with the SAM CLI, and speaks to what was deployed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use aws::Clients;
use aws::control::stack::Stack;
use aws::invoke::Functions;
use serde_json::Value;
use support::aws::{clients, endpoint};
use support::binary::{Said, sluice};

pub const STACK: &str = "chain";
/// The destination of the stack, and the name of its connection.
pub const DESTINATION: &str = "hook";
/// How many requests a second the destination allows.
pub const REQUESTS_A_SECOND: u32 = 8;
/// A writer's timeout, in seconds: the least there is, because a killed writer's batch waits for it.
const WRITER_TIMEOUT: u32 = 30;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(240);

pub struct Deployed {
    pub clients: Clients,
    pub functions: Functions,
    pub outputs: Stack,
    pub queue: String,
    pub dlq: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A tool of the venv that `tests/run` makes.
fn tool(name: &str) -> Command {
    let tools = PathBuf::from(
        std::env::var("SLUICEGATE_TEST_TOOLS")
            .expect("SLUICEGATE_TEST_TOOLS is not set: start this test with ./tests/run"),
    );
    let mut command = Command::new(tools.join(name));
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", tools.display())).current_dir(root()).stdin(Stdio::null());
    on_emulator(&mut command);
    command
}

/// Credentials and endpoint of the emulator.
pub fn on_emulator(command: &mut Command) {
    command.env("AWS_ENDPOINT_URL", endpoint()).env("AWS_REGION", "eu-west-1").env("AWS_DEFAULT_REGION", "eu-west-1");
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").env("SAM_CLI_TELEMETRY", "0");
}

#[track_caller]
fn well(mut command: Command) -> Output {
    println!("chain: {command:?}");
    let output = command.output().expect("the tool starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    output
}

/// Renders the template for the list of this test, builds the functions, deploys.
pub async fn deploy() -> Deployed {
    let folder = root().join("target/chain");
    std::fs::create_dir_all(&folder).unwrap();
    let (list, template) = (folder.join("destinations.yaml"), folder.join("template.yaml"));
    let entry = format!(
        "destinations:\n  - {{ name: {DESTINATION}, concurrency: 3, rate: {REQUESTS_A_SECOND}/1s, timeout: {WRITER_TIMEOUT} }}\n"
    );
    std::fs::write(&list, entry).unwrap();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let mut render = tool("python");
    render.arg("infra/sam/render.py").arg("--list").arg(&list).arg("--output").arg(&template);
    well(render);
    let mut build = tool("sam");
    build.args(["build", "--beta-features", "--parameter-overrides"]).arg(format!("Architecture={architecture}"));
    build.arg("--template-file").arg(&template).arg("--build-dir").arg(folder.join("build"));
    // What cargo tells a test of its crate is nothing that the build of the functions should know.
    for (name, _) in std::env::vars()
        .filter(|(name, _)| name.starts_with("CARGO") && name != "CARGO_HOME" && name != "CARGO_TARGET_DIR")
    {
        build.env_remove(name);
    }
    // The functions as they are deployed are made small, which takes longer than all that is tested here.
    build.envs([
        ("CARGO_PROFILE_RELEASE_LTO", "off"),
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
        ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ]);
    well(build);
    let mut deploy = tool("sam");
    deploy.args([
        "deploy",
        "--stack-name",
        STACK,
        "--resolve-s3",
        "--capabilities",
        "CAPABILITY_IAM",
        "--no-confirm-changeset",
        "--no-fail-on-empty-changeset",
    ]);
    deploy.arg("--parameter-overrides").arg(format!("Architecture={architecture}")).arg("LogLevel=info");
    deploy.arg("--template-file").arg(folder.join("build/template.yaml"));
    well(deploy);
    let clients = clients().await;
    let outputs = Stack::read(&clients, STACK).await.unwrap();
    let url =
        async |name: String| clients.sqs().get_queue_url().queue_name(name).send().await.unwrap().queue_url.unwrap();
    let (queue, dlq) = (url(format!("{STACK}-{DESTINATION}")).await, url(format!("{STACK}-{DESTINATION}-dlq")).await);
    Deployed { functions: Functions::new(&clients), outputs, queue, dlq, clients }
}

impl Deployed {
    /// Runs `sluice … --stack` in a project.
    pub fn sluice(&self, project: &Path, arguments: &[&str]) -> Said {
        let mut command = Command::new(sluice());
        command.arg("--project").arg(project).args(arguments).args(["--stack", STACK]);
        on_emulator(&mut command);
        Said::of(
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sluice starts"),
        )
    }

    /// Invokes the extractor and waits for its answer.
    pub async fn extract(&self, event: Value) -> Value {
        self.functions.call(&self.outputs.extractor, &event).await.unwrap()
    }

    /// How many messages a queue has, hidden ones too.
    pub async fn depth(&self, url: &str) -> u64 {
        let names = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ];
        let mut ask = self.clients.sqs().get_queue_attributes().queue_url(url);
        for name in names {
            ask = ask.attribute_names(name.into());
        }
        let attributes = ask.send().await.unwrap().attributes.unwrap_or_default();
        attributes.values().map(|n| n.parse::<u64>().unwrap_or(0)).sum()
    }

    /// Switches the writer's event source mapping on or off.
    pub async fn deliver(&self, enabled: bool) {
        let lambda = self.clients.lambda();
        let function = format!("{STACK}-writer-{DESTINATION}");
        let mappings = lambda.list_event_source_mappings().function_name(&function).send().await.unwrap();
        for mapping in mappings.event_source_mappings() {
            lambda.update_event_source_mapping().uuid(mapping.uuid().unwrap()).enabled(enabled).send().await.unwrap();
        }
    }

    /// Takes the bodies of so many messages off a queue.
    pub async fn take(&self, url: &str, count: usize) -> Vec<String> {
        let sqs = self.clients.sqs();
        let mut bodies = Vec::new();
        let began = Instant::now();
        while bodies.len() < count {
            assert!(began.elapsed() < LONG, "{} of {count} messages came", bodies.len());
            let received = sqs
                .receive_message()
                .queue_url(url)
                .max_number_of_messages(1)
                .wait_time_seconds(1)
                .send()
                .await
                .unwrap();
            for message in received.messages() {
                bodies.push(message.body().unwrap().to_owned());
                sqs.delete_message()
                    .queue_url(url)
                    .receipt_handle(message.receipt_handle().unwrap())
                    .send()
                    .await
                    .unwrap();
            }
        }
        bodies
    }

    /// Puts messages into a queue.
    pub async fn put(&self, url: &str, bodies: &[String]) {
        for body in bodies {
            self.clients.sqs().send_message().queue_url(url).message_body(body).send().await.unwrap();
        }
    }
}

/// Waits until something is so.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < LONG, "{what}: it did not happen in {LONG:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
