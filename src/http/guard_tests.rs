//! The guard, against servers of this machine.

use super::*;

/// Allows public addresses, and private ones under one name.
struct Only(&'static str);

impl Allow for Only {
    fn allows(&self, host: &str, address: IpAddr) -> bool {
        reach(address) == Reach::Public || host == self.0
    }
}

async fn get(guard: Only, trust: Trust, url: &str) -> Result<StatusCode, HttpError> {
    let http = Http::new(Arc::new(guard)).unwrap();
    let request = Request {
        method: reqwest::Method::GET,
        url: &Url::parse(url).unwrap(),
        trust,
        headers: HeaderMap::new(),
        body: None,
        timeout: Duration::from_secs(10),
    };
    http.send(request).await.map(|it| it.status)
}

/// A server that sends everybody to itself.
async fn server() -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1_024];
            let n_read = stream.read(&mut request).await.unwrap();
            assert!(n_read > 0, "it closed without a word");
            let answer = "HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    port
}

#[tokio::test]
async fn an_address_is_refused_however_it_is_written() {
    let port = server().await;
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "0.0.0.0",
        "169.254.169.254",
    ] {
        let url = format!("http://{host}:{port}/");
        let answer = get(Only("none"), Trust::Vendor, &url).await;
        assert_eq!(answer, Err(HttpError::Forbidden), "{host}");
    }
}

#[tokio::test]
async fn a_name_is_judged_by_what_it_resolves_to() {
    let url = format!("http://localhost:{}/", server().await);
    let answer = get(Only("none"), Trust::Vendor, &url).await;
    assert!(matches!(answer, Err(HttpError::Forbidden | HttpError::NoConnection)), "{answer:?}");
    let answer = get(Only("localhost"), Trust::Vendor, &url).await;
    assert_eq!(answer, Ok(StatusCode::FOUND), "allowed, and not sent elsewhere");
    assert_eq!(get(Only("none"), Trust::Operator, &url).await, Ok(StatusCode::FOUND));
}
