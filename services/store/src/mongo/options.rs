//! Connection strings: what the Node driver takes and ours does not, what ours refuses, and what people may see of one.

use mongodb::options::{ConnectionString, HostInfo};

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

/// What the driver would refuse in a connection string, judged by its own parser, without a word of the credentials.
pub fn url_mistake(url: &str) -> Option<&'static str> {
    let refused = ConnectionString::parse(supported(url)).is_err();
    let (server, options) = split(url);
    let Some((scheme, behind)) = server.split_once("://") else {
        return Some(SHAPE);
    };
    if !matches!(scheme, "mongodb" | "mongodb+srv") {
        return Some(SHAPE);
    }
    // With one of these in a password its beginning is taken for a host.
    if !server.contains('@') && options.iter().any(|option| option.contains('@')) {
        return Some(PASSWORD);
    }
    if !refused {
        return None;
    }
    if behind.contains('#') {
        return Some(PASSWORD);
    }
    let Some((_, hosts)) = behind.rsplit_once('@') else {
        return Some(REST);
    };
    match ConnectionString::parse(supported(&url.replacen(
        server,
        &format!("{scheme}://{hosts}"),
        1,
    ))) {
        Ok(_) => Some(PASSWORD),
        Err(_) => Some(REST),
    }
}

/// The database that a connection string names.
pub fn database_name(url: &str) -> Option<String> {
    ConnectionString::parse(supported(url))
        .ok()?
        .default_database
}

/// The connection string for people: hosts, database and options, but nothing that could be a credential.
pub fn masked(url: &str) -> String {
    let Ok(parsed) = ConnectionString::parse(supported(url)) else {
        return "***".to_owned();
    };
    let (server, options) = split(url);
    let account = if server.contains('@') { "***@" } else { "" };
    let (scheme, hosts) = match &parsed.host_info {
        HostInfo::DnsRecord(name) => ("mongodb+srv", name.clone()),
        HostInfo::HostIdentifiers(hosts) => {
            let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
            ("mongodb", hosts.join(","))
        }
        _ => ("mongodb", "***".to_owned()),
    };
    let database = parsed.default_database.unwrap_or_default();
    let is_open = |option: &&&str| {
        let name = name(option);
        is_supported(name)
            && !name.eq_ignore_ascii_case("authMechanismProperties")
            && !option.contains('@')
    };
    let options: Vec<&str> = options.iter().filter(is_open).copied().collect();
    let options = match options.is_empty() {
        true => String::new(),
        false => format!("?{}", options.join("&")),
    };
    format!("{scheme}://{account}{hosts}/{database}{options}")
}

/// The connection string without [`unsupported_options`], and with a password as the driver wants it: the Node driver
/// takes `:`, `[` and `]` unescaped.
pub(super) fn supported(url: &str) -> String {
    let (server, options) = split(url);
    let server = escaped(server);
    let options: Vec<&str> = options
        .into_iter()
        .filter(|option| is_supported(name(option)))
        .collect();
    if options.is_empty() {
        server
    } else {
        format!("{server}?{}", options.join("&"))
    }
}

fn escaped(server: &str) -> String {
    let parts = server.split_once("://").and_then(|(scheme, rest)| {
        let (account, hosts) = rest.rsplit_once('@')?;
        let (user, password) = account.split_once(':')?;
        Some((scheme, user, password, hosts))
    });
    let Some((scheme, user, password, hosts)) = parts else {
        return server.to_owned();
    };
    let password = password
        .replace(':', "%3A")
        .replace('[', "%5B")
        .replace(']', "%5D");
    format!("{scheme}://{user}:{password}@{hosts}")
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

const SHAPE: &str = "expected mongodb://host/database or mongodb+srv://host/database";
const PASSWORD: &str = "a character in the user name or the password must be percent-encoded (such as @ as %40, / as %2F)";
const REST: &str =
    "a host, a port, the database's name or an option is not one that the driver takes";

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

    #[test]
    fn what_the_driver_would_refuse_is_named_without_a_word_of_the_password() {
        for (url, expected) in [
            ("mongodb://u:s3cret@h/db?replicaSet=rs0", None),
            ("mongodb+srv://u:s3cret@h.example.org/db", None),
            ("mongodb://u:s3:cr[e]t@a,b:27018/db", None),
            ("localhost", Some(SHAPE)),
            ("mongodb:/u:s3cret@h", Some(SHAPE)),
            ("mongo://u:s3cret@h", Some(SHAPE)),
            ("mongodb://u:s3@cret@h/db", Some(PASSWORD)),
            ("mongodb://u:s3/cret@h/db", Some(PASSWORD)),
            ("mongodb://u:1?s3cret@h/db", Some(PASSWORD)),
            ("mongodb://u:s3#cret@h/db", Some(PASSWORD)),
            ("mongodb://u:s3%cret@h/db", Some(PASSWORD)),
            ("mongodb://u:s3cret@h:x/db", Some(REST)),
            ("mongodb://u:s3cret@h:70000/db", Some(REST)),
            ("mongodb://u:s3cret@/db", Some(REST)),
            ("mongodb://u:s3cret", Some(REST)),
            ("mongodb://h/db?maxPoolSize=many", Some(REST)),
            ("mongodb+srv://h:27017/db", Some(REST)),
        ] {
            assert_eq!(url_mistake(url), expected, "{url}");
            let shown = masked(url);
            assert!(
                !shown.contains("cret") && !shown.contains("s3"),
                "{url}: {shown}"
            );
        }
        assert_eq!(
            masked("mongodb://u:p@a,b:1/db?replicaSet=rs0&authMechanismProperties=x:y"),
            "mongodb://***@a:27017,b:1/db?replicaSet=rs0"
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
