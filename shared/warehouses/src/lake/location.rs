//! Where an object of S3 lies: `s3://BUCKET/KEY`.

use std::fmt;

/// A bucket, and a key or the prefix of keys in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct S3Location {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

impl S3Location {
    /// Reads `s3://BUCKET/KEY`; `None` where it is none.
    pub(crate) fn parse(written: &str) -> Option<Self> {
        let rest = written.trim().strip_prefix("s3://")?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let dots = key.split('/').any(|part| part == "." || part == "..");
        (!bucket.is_empty() && bucket.chars().all(plain) && !dots)
            .then(|| Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// A folder of a setting: its key is empty or ends with a slash.
    pub(crate) fn folder(written: &str) -> Option<Self> {
        let mut folder = Self::parse(written)?;
        if !folder.key.is_empty() && !folder.key.ends_with('/') {
            folder.key.push('/');
        }
        Some(folder)
    }

    /// What lies below a folder.
    pub(crate) fn join(&self, below: &str) -> Self {
        Self { bucket: self.bucket.clone(), key: format!("{}{below}", self.key) }
    }

    /// The ARN of everything that lies below, for policies.
    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:s3:::{}/{}*", self.bucket, self.key)
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_read_and_joined() {
        for (written, read) in [
            ("s3://lake/a/b.parquet", Some(("lake", "a/b.parquet"))),
            (" s3://my.lake-1 ", Some(("my.lake-1", ""))),
            ("s3://lake/a b/ü", Some(("lake", "a b/ü"))),
            ("s3:///a", None),
            ("https://lake/a", None),
            ("s3://la ke/a", None),
            ("s3://lake/a/../b", None),
        ] {
            let found = S3Location::parse(written);
            assert_eq!(found.as_ref().map(|at| (at.bucket.as_str(), at.key.as_str())), read, "{written}");
        }
        let folder = S3Location::folder("s3://lake/results").unwrap();
        assert_eq!(folder.join("x/").to_string(), "s3://lake/results/x/");
        assert_eq!(folder.arn(), "arn:aws:s3:::lake/results/*");
        assert_eq!(S3Location::folder("s3://lake").unwrap().join("x").key, "x");
    }
}
