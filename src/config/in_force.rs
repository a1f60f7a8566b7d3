//! What of the configuration is in force where the variables alone do not say it.

use backplane::Server;
use gateway::config::Origins;

use super::Settings;

impl Settings {
    /// What is in force of the variables whose default depends on something or that may hold a credential, which is left
    /// out.
    pub(crate) fn in_force(&self) -> Vec<(&'static str, String)> {
        let servers: Vec<_> = self.bus.servers.iter().map(Server::masked).collect();
        let gateway = &self.gateway;
        let mut in_force = vec![
            ("TRANSPORTER", servers.join(",")),
            ("MONGO_URL", store::masked(&self.mongo_url)),
            ("PORT", self.port.to_string()),
            ("DDP_EDGE_SHARDS", gateway.shards.to_string()),
            (
                "DDP_EDGE_MAX_CONNECTIONS",
                gateway.connections_max.to_string(),
            ),
            (
                "DDP_EDGE_PASSWORD_LOGIN",
                gateway.password_login.to_string(),
            ),
            (
                "DDP_EDGE_ORIGINS",
                match &gateway.origins {
                    Origins::Any => "*".to_owned(),
                    Origins::List(list) => list.join(","),
                    Origins::Loopback(also) => {
                        let also = also.iter().map(String::as_str);
                        std::iter::once("loopback")
                            .chain(also)
                            .collect::<Vec<_>>()
                            .join(",")
                    }
                },
            ),
        ];
        let traces = self.traces.as_ref();
        let headers = traces.into_iter().flat_map(|traces| &traces.headers);
        let headers: Vec<_> = headers.map(|(name, _)| format!("{name}=***")).collect();
        in_force.extend([
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                traces.map_or_else(String::new, |traces| traces.endpoint.clone()),
            ),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", String::new()),
            ("OTEL_EXPORTER_OTLP_HEADERS", headers.join(",")),
            (
                "OTEL_SERVICE_NAME",
                traces.map_or_else(String::new, |traces| traces.service.clone()),
            ),
        ]);
        if traces.is_none() {
            in_force.extend(
                ["OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"]
                    .map(|name| (name, String::new())),
            );
        }
        let addresses = [gateway.bind, gateway.bind_also].into_iter().flatten();
        let addresses: Vec<_> = addresses.map(|address| address.to_string()).collect();
        in_force.push(("DDP_EDGE_BIND", addresses.join(",")));
        if self.data.is_none() {
            in_force.push(("DDP_EDGE_DATA", String::new()));
        }
        in_force
    }
}
