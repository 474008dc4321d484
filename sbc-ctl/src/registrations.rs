//! `sbc-ctl registrations`: users of trunks, page by page, as one table or one object.

use crate::{Client, args::RegistrationsArguments, error::Error, print, show};
use sbc_core::admin::registrations::ListRegistrations;
use serde_json::json;

impl Client {
    pub(crate) fn registrations(&mut self, wanted: &RegistrationsArguments) -> Result<(), Error> {
        let mut list = ListRegistrations {
            trunk: wanted.trunk.clone(),
            user: wanted.user.clone(),
            after: None,
            limit: None,
        };
        let mut all = Vec::new();
        loop {
            let (_, page) = self.connection.call(&list)?;
            all.extend(page.registrations);
            // A page that says where it began would be asked for without end.
            if page.next.is_none() || page.next == list.after {
                break;
            }
            list.after = page.next;
        }
        if self.json {
            return print(&format!("{}\n", json!({ "registrations": all, "next": null })));
        }
        let mut t = show::Plain::new(&["TRUNK", "USER", "CONTACT", "ADDRESS", "Q>", "EXPIRES>", "DEVICE"]);
        for user in &all {
            for contact in &user.contacts {
                t.row([
                    user.trunk.as_str(),
                    &user.user,
                    &contact.contact,
                    &format!("{}/{}", contact.address, contact.transport),
                    &format!("{:.1}", f64::from(contact.q) / 1000.0),
                    &format!("{} s", contact.expires_s),
                    &contact.user_agent,
                ]);
            }
        }
        print(&t.finish())
    }
}
