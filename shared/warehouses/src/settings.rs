//! The environment, as far as warehouses are told by it: the AWS role that a function runs as.

/// Credentials of AWS, as Lambda gives them to a function.
pub(crate) struct AwsCredentials {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) session: Option<String>,
    pub(crate) region: String,
}

/// Those of the environment; the error names the variable that is missing.
pub(crate) fn aws_credentials() -> Result<AwsCredentials, &'static str> {
    let read = |name: &'static str| std::env::var(name).ok().filter(|value| !value.is_empty());
    Ok(AwsCredentials {
        access_key: read("AWS_ACCESS_KEY_ID").ok_or("AWS_ACCESS_KEY_ID")?,
        secret_key: read("AWS_SECRET_ACCESS_KEY").ok_or("AWS_SECRET_ACCESS_KEY")?,
        session: read("AWS_SESSION_TOKEN"),
        region: read("AWS_REGION").or_else(|| read("AWS_DEFAULT_REGION")).ok_or("AWS_REGION")?,
    })
}
