//! Log-ins of trunks: what kind of trunk it is, and what the shards must know of its users.

use super::{Config, Destination, Logins, Trunk, TrunkLogin};
use crate::{
    bindings::Grants,
    id::ListenerId,
    login::{self, Login},
    resolve::host_name,
    snapshot::{self, Service},
    trunk::{TrunkId, TrunkKind},
};
use std::{sync::Arc, time::Duration};

impl Trunk {
    /// How it is recognised: as it says, or as follows from what it has.
    pub fn kind(&self) -> TrunkKind {
        let named = |destination: &Option<Destination>| matches!(destination, Some(Destination::Name(..)));
        match (self.kind, &self.login) {
            (Some(kind), _) => kind,
            (None, Some(_)) => TrunkKind::Credentials,
            (None, None) if named(&self.target) || named(&self.outbound_proxy) => TrunkKind::Fqdn,
            (None, None) => TrunkKind::Ip,
        }
    }

    /// Its calls go to where its users have registered.
    pub(super) fn is_registered_with(&self) -> bool {
        self.login.is_some() && self.target.is_none() && self.outbound_proxy.is_none()
    }

    /// Its realm, if that can be a domain.
    pub(super) fn realm_as_domain(&self) -> Option<Box<str>> {
        let realm = &self.login.as_ref()?.realm;
        host_name(realm).map(String::into_boxed_str)
    }

    /// Its requests come from anywhere.
    pub(super) fn roams(&self) -> bool {
        self.login.is_some() && self.hosts.is_empty()
    }
}

impl Config {
    /// What `trunk` must know to be let in; `Err`: the key and what is wrong there.
    pub(super) fn compile_login(&self, trunk: &Trunk) -> Result<Option<Arc<Login>>, (String, String)> {
        let Some(login) = &trunk.login else {
            return Ok(None);
        };
        let only = trunk.listener.as_ref().and_then(|name| {
            let at = self
                .listeners
                .iter()
                .position(|listener| listener.name == *name)?;
            u8::try_from(at).ok().map(ListenerId)
        });
        login.compile(trunk, only).map(|login| Some(Arc::new(login)))
    }
}

impl TrunkLogin {
    fn compile(&self, trunk: &Trunk, listener: Option<ListenerId>) -> Result<Login, (String, String)> {
        let account = |user: &super::LoginUser| user.named().compile();
        let accounts = self.users.iter().map(account).collect::<Result<_, _>>();
        Ok(Login {
            realm: self.realm.as_str().into(),
            accounts: accounts.map_err(|(key, what)| (format!("user.{key}"), what))?,
            algorithms: self.algorithms.as_slice().into(),
            inside_calls: self.inside_calls,
            listener,
            roams: trunk.roams(),
            grants: trunk.is_registered_with().then_some(Grants {
                expires_min_s: self.expires_min_s,
                expires_max_s: self.expires_max_s,
                expires_nat_s: self.expires_nat_s,
                contacts_max: self.contacts_max.into(),
            }),
            number_in_uri: self.number_in_uri,
        })
    }
}

impl Logins {
    /// The log-ins of all `trunks`.
    pub(super) fn compile(&self, trunks: &[snapshot::Trunk]) -> login::Logins {
        let terms = login::Terms {
            nonce_life: Duration::from_secs(self.nonce_life_s.into()),
            challenges_per_s: self.challenges_per_s,
        };
        let there = (0..).map(TrunkId).zip(trunks);
        let there = there.filter(|(_, trunk)| trunk.service != Service::Removed);
        let logins = there.filter_map(|(id, trunk)| Some((id, trunk.peer.login.clone()?)));
        login::Logins::new(terms, logins.collect())
    }
}
