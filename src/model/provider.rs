//! Who runs a registry, which decides what can be deleted in it and how.

use std::fmt;
use std::str::FromStr;

/// The maker of a registry. It is known by the host's name or by declaration, never guessed
/// from answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Provider {
    /// The distribution API and nothing else.
    Distribution,
    /// GitHub Packages: one version a digest.
    Ghcr,
    /// Harbor 2, with its own API.
    Harbor,
    /// GitLab's container registry.
    GitLab,
    /// Quay.
    Quay,
    /// zot.
    Zot,
    /// Azure Container Registry.
    Acr,
    /// Docker Hub, with its own API.
    DockerHub,
    /// Google Artifact Registry.
    Google,
    /// Amazon ECR's private registries.
    Ecr,
}

impl Provider {
    /// All of them, by the names that declare them.
    pub const NAMES: [(&'static str, Self); 10] = [
        ("distribution", Self::Distribution),
        ("ghcr", Self::Ghcr),
        ("harbor", Self::Harbor),
        ("gitlab", Self::GitLab),
        ("quay", Self::Quay),
        ("zot", Self::Zot),
        ("acr", Self::Acr),
        ("docker-hub", Self::DockerHub),
        ("artifact-registry", Self::Google),
        ("ecr", Self::Ecr),
    ];

    /// Returns who runs the registry at `host`, as far as its name says.
    pub fn of_host(host: &str) -> Self {
        let below = |domain: &str| host.strip_suffix(domain).is_some_and(|name| name.ends_with('.'));
        match host {
            "ghcr.io" => Self::Ghcr,
            "docker.io" | "index.docker.io" => Self::DockerHub,
            "quay.io" => Self::Quay,
            "registry.gitlab.com" => Self::GitLab,
            "gcr.io" => Self::Google,
            _ if below("gcr.io") || host.ends_with("-docker.pkg.dev") => Self::Google,
            _ if below("azurecr.io") || below("azurecr.cn") || below("azurecr.us") => Self::Acr,
            _ if ecr_account(host).is_some() => Self::Ecr,
            _ => Self::Distribution,
        }
    }
}

/// Returns the account and the region that the name of a private ECR registry holds
/// (`<account>.dkr.ecr.<region>.amazonaws.com`, or `dkr.ecr-fips`, or `.com.cn`).
pub fn ecr_account(host: &str) -> Option<(&str, &str)> {
    let (account, rest) = host.split_once('.')?;
    let rest = rest.strip_prefix("dkr.ecr.").or_else(|| rest.strip_prefix("dkr.ecr-fips."))?;
    let region = rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn"))?;
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_region =
        !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (is_account && is_region).then_some((account, region))
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, provider)| provider == self);
        f.write_str(name.map_or("", |(name, _)| *name))
    }
}

impl FromStr for Provider {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, provider)| *provider).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hosts_are_known_by_their_whole_names() {
        for (host, expect) in [
            ("ghcr.io", "ghcr"),
            ("docker.io", "docker-hub"),
            ("quay.io", "quay"),
            ("registry.gitlab.com", "gitlab"),
            ("eu.gcr.io", "artifact-registry"),
            ("europe-west1-docker.pkg.dev", "artifact-registry"),
            ("corp.azurecr.io", "acr"),
            ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "ecr"),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "ecr"),
            ("ghcr.io:443", "distribution"),
            ("ghcr.io.example", "distribution"),
            ("evilazurecr.io", "distribution"),
            ("12345.dkr.ecr.eu-central-1.amazonaws.com", "distribution"),
            ("123456789012.dkr.ecr.a/b.amazonaws.com", "distribution"),
            ("127.0.0.1:5000", "distribution"),
        ] {
            assert_eq!(Provider::of_host(host).to_string(), expect, "{host}");
        }
        for (name, provider) in Provider::NAMES {
            assert_eq!(name.parse(), Ok(provider));
        }
        assert_eq!("GHCR".parse::<Provider>(), Err(()));
    }
}
