//! The SDK's clients, made once at cold start from one configuration: region, credentials and endpoint as the
//! environment says (`AWS_ENDPOINT_URL` for an emulator), one HTTP client with its connections for all of them.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// Attempts of one call; the SDK waits between them, with jitter.
const ATTEMPTS: u32 = 5;
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest wait for an answer to one attempt.
const ATTEMPT: Duration = Duration::from_secs(20);

/// One configuration, and a client of each service. Cheap to clone.
#[derive(Clone)]
pub struct Clients {
    config: SdkConfig,
}

impl Clients {
    /// Reads region and credentials the way every AWS tool does.
    pub async fn new() -> Self {
        Self { config: Self::loader().load().await }
    }

    /// Clients of an emulator at this address, with a region and credentials that no account has.
    pub async fn emulator(endpoint: &str) -> Self {
        let credentials = aws_sdk_dynamodb::config::Credentials::new("test", "test", None, None, "emulator");
        let loader = Self::loader()
            .endpoint_url(endpoint)
            .region(Region::from_static("eu-west-1"))
            .credentials_provider(credentials);
        Self { config: loader.load().await }
    }

    fn loader() -> ConfigLoader {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).build();
        aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
    }

    /// Clients of a configuration made elsewhere: a test's, with its own endpoint or credentials.
    pub fn with_config(config: SdkConfig) -> Self {
        Self { config }
    }

    /// The configuration, for clients that need more than it.
    pub fn config(&self) -> &SdkConfig {
        &self.config
    }

    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config)
    }

    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.config)
    }

    /// S3. An endpoint of one's own has its buckets in the path: their names do not resolve there.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let config =
            aws_sdk_s3::config::Builder::from(&self.config).force_path_style(self.config.endpoint_url().is_some());
        aws_sdk_s3::Client::from_conf(config.build())
    }

    pub fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.config)
    }

    /// The Parameter Store of Systems Manager.
    pub fn ssm(&self) -> aws_sdk_ssm::Client {
        aws_sdk_ssm::Client::new(&self.config)
    }

    /// Lambda. A synchronous call lasts as long as the function does, so it has no time limit of its own.
    pub fn lambda(&self) -> aws_sdk_lambda::Client {
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).build();
        let config = aws_sdk_lambda::config::Builder::from(&self.config)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(1));
        aws_sdk_lambda::Client::from_conf(config.build())
    }

    pub fn sns(&self) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(&self.config)
    }

    #[cfg(feature = "control")]
    pub fn scheduler(&self) -> aws_sdk_scheduler::Client {
        aws_sdk_scheduler::Client::new(&self.config)
    }

    #[cfg(feature = "control")]
    pub fn cloudformation(&self) -> aws_sdk_cloudformation::Client {
        aws_sdk_cloudformation::Client::new(&self.config)
    }
}
