//! Options in a connection string that the Node driver takes and ours does not.

/// Every option the driver understands and acts on, in lower case. It refuses unknown ones, and takes
/// `socketTimeoutMS` and `waitQueueTimeoutMS` only to ignore them: our deadline stands for both.
const SUPPORTED: [&str; 36] = [
    "appname",
    "authmechanism",
    "authmechanismproperties",
    "authsource",
    "connecttimeoutms",
    "directconnection",
    "heartbeatfrequencyms",
    "journal",
    "loadbalanced",
    "localthresholdms",
    "maxconnecting",
    "maxidletimems",
    "maxpoolsize",
    "maxstalenessseconds",
    "minpoolsize",
    "readconcernlevel",
    "readpreference",
    "readpreferencetags",
    "replicaset",
    "retryreads",
    "retrywrites",
    "servermonitoringmode",
    "serverselectiontimeoutms",
    "srvmaxhosts",
    "srvservicename",
    "ssl",
    "tls",
    "tlsallowinvalidcertificates",
    "tlscafile",
    "tlscertificatekeyfile",
    "tlsinsecure",
    "uuidrepresentation",
    "w",
    "wtimeoutms",
    "maxadaptiveretries",
    "enableoverloadretargeting",
];

/// The options of a connection string that are left out when connecting, because the driver does not know them: by
/// name, for a warning each.
pub fn unsupported_options(url: &str) -> Vec<String> {
    let (_, options) = split(url);
    options
        .into_iter()
        .map(name)
        .filter(|name| !is_supported(name))
        .map(str::to_owned)
        .collect()
}

/// The connection string without [`unsupported_options`].
pub(super) fn supported(url: &str) -> String {
    let (server, options) = split(url);
    let options: Vec<&str> = options
        .into_iter()
        .filter(|option| is_supported(name(option)))
        .collect();
    if options.is_empty() {
        server.into()
    } else {
        format!("{server}?{}", options.join("&"))
    }
}

fn split(url: &str) -> (&str, Vec<&str>) {
    match url.split_once('?') {
        Some((server, options)) => (
            server,
            options
                .split('&')
                .filter(|option| !option.is_empty())
                .collect(),
        ),
        None => (url, Vec::new()),
    }
}

fn name(option: &str) -> &str {
    option.split_once('=').map_or(option, |(name, _)| name)
}

fn is_supported(name: &str) -> bool {
    SUPPORTED.contains(&name.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, unsupported: &[&str], rest: &str) {
        assert_eq!(unsupported_options(url), unsupported, "{url}");
        assert_eq!(supported(url), rest, "{url}");
    }

    #[test]
    fn options_of_the_node_driver_only_are_named_and_left_out() {
        check("mongodb://h", &[], "mongodb://h");
        check(
            "mongodb://h/db?replicaSet=rs0&w=majority",
            &[],
            "mongodb://h/db?replicaSet=rs0&w=majority",
        );
        check(
            "mongodb://u:p@h/db?useUnifiedTopology=true&replicaSet=rs0&socketTimeoutMS=1000",
            &["useUnifiedTopology", "socketTimeoutMS"],
            "mongodb://u:p@h/db?replicaSet=rs0",
        );
        check(
            "mongodb://h/?compressors=zlib",
            &["compressors"],
            "mongodb://h/",
        );
    }

    #[tokio::test]
    async fn the_driver_takes_every_option_listed_as_supported() {
        let refused = |name: &&str| {
            let url = format!("mongodb://h/?{name}=x");
            async move {
                let error = mongodb::options::ClientOptions::parse(url).await.err()?;
                error
                    .to_string()
                    .contains("is an invalid option")
                    .then(|| error.to_string())
            }
        };
        for name in &SUPPORTED {
            assert_eq!(refused(name).await, None, "{name}");
        }
    }
}
