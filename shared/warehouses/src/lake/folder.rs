//! The folder of one result: its name is its own, and it is deleted after the read.

use std::sync::Arc;

use domain::ports::QueryLabel;
use domain::value::render;
use futures_util::stream::{self, StreamExt as _};

use super::location::S3Location;
use super::s3::S3Client;

/// Objects that are deleted at once.
const DELETES_AT_ONCE: usize = 8;

/// A folder that is deleted when it is dropped, as far as that can be done: what is left, a lifecycle rule has to delete.
pub(crate) struct ResultFolder {
    s3: Arc<S3Client>,
    location: S3Location,
    /// False once it is deleted.
    there: bool,
}

impl ResultFolder {
    /// A folder below `output` with a name that no other has: sync, run and a random part.
    pub(crate) fn new(s3: &Arc<S3Client>, output: &S3Location, label: &QueryLabel) -> Self {
        let unique = render::uuid(fastrand::u128(..).to_be_bytes());
        let parts = [plain(&label.sync), plain(&label.run), unique];
        let name = parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("-");
        Self { s3: Arc::clone(s3), location: output.join(&format!("sluicegate/{name}/")), there: true }
    }

    pub(crate) fn location(&self) -> &S3Location {
        &self.location
    }

    pub(crate) fn s3(&self) -> &Arc<S3Client> {
        &self.s3
    }

    /// Deletes everything in it.
    pub(crate) async fn remove(mut self) {
        remove(&self.s3, &self.location).await;
        self.there = false;
    }
}

impl Drop for ResultFolder {
    fn drop(&mut self) {
        if !std::mem::take(&mut self.there) {
            return;
        }
        // Without a runtime there is nothing left to ask with.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (s3, location) = (Arc::clone(&self.s3), self.location.clone());
        runtime.spawn(async move { remove(&s3, &location).await });
    }
}

async fn remove(s3: &Arc<S3Client>, folder: &S3Location) {
    let deleted = async {
        let found = s3.list(folder).await?;
        let delete = |at: S3Location| {
            let s3 = Arc::clone(s3);
            async move { s3.delete(&at).await }
        };
        let deletes = stream::iter(found).map(delete).buffer_unordered(DELETES_AT_ONCE);
        deletes.collect::<Vec<_>>().await.into_iter().collect::<Result<(), _>>()
    };
    if let Err(fault) = deleted.await {
        tracing::warn!("the files of a result could not be deleted from {folder}: {fault}");
    }
}

/// What can stand in a key without being encoded.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect()
}
