//! An answer whose body is read piece by piece: for results that are larger than memory should be.

use std::time::Duration;

use bytes::Bytes;

use super::{HeaderMap, Http, HttpReply, HttpRequest, SendError, Url, decoded};

/// No body takes longer than this as a whole; each piece of it has the connection's own timeout.
const WHOLE: Duration = Duration::from_secs(3600);

/// An answer whose body is still coming. Dropping it closes the connection.
pub struct HttpStream {
    http: Http,
    url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    response: reqwest::Response,
}

impl Http {
    /// Sends a request, once, and reads the head of the answer. The timeout of the connection is that of the head, and
    /// then of every piece.
    pub async fn open(&self, request: HttpRequest) -> Result<HttpStream, SendError> {
        let url = request.url.clone();
        let mut sent = self.prepare(request)?;
        *sent.timeout_mut() = Some(WHOLE);
        let response = tokio::time::timeout(self.settings.timeout, self.client.execute(sent))
            .await
            .map_err(|_| self.timed_out(&url))?
            .map_err(|e| self.tell(&e, &url))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        decoded(&headers, status, self.redactor())?;
        Ok(HttpStream { http: self.clone(), url, status, headers, response })
    }
}

impl HttpStream {
    /// The next piece of the body; `None` at its end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SendError> {
        tokio::time::timeout(self.http.settings.timeout, self.response.chunk())
            .await
            .map_err(|_| self.http.timed_out(&self.url))?
            .map_err(|e| self.http.tell(&e, &self.url))
    }

    /// The whole body, at most `limit` bytes of it.
    pub async fn whole(mut self, limit: usize) -> Result<HttpReply, SendError> {
        let mut body = Vec::new();
        while body.len() < limit {
            match self.next().await {
                Ok(Some(piece)) => body.extend_from_slice(&piece[..piece.len().min(limit - body.len())]),
                Ok(None) => break,
                // A bad status has said what there is to say, however its body ends.
                Err(_) if !(200..300).contains(&self.status) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(HttpReply { url: self.url, status: self.status, headers: self.headers, body, at: self.http.now() })
    }
}
