//! Which trunks a call may go to, and in which order.
//!
//! In: the trunk that a call comes from and the digits that it is for. Out: the rule that wins, or nothing. A
//! [`RouteTable`] is made once from the configuration and never changed; a look-up walks the digits of the number
//! through a trie in flat arrays and allocates nothing. What rules say is in `rule`, how a rule's trunks are put in order
//! in `order`, why a rule wins or does not in `explain`.
//!
//! The order in which rules win (docs/ROUTING.md):
//!
//! 1. a number of an emergency rule, as dialled;
//! 2. a complete number (DID), of several blocks the smallest;
//! 3. the longest prefix; a rule without any is the fallback;
//! 4. among those of one prefix, a rule for the caller's trunk before one for all, a temporary rule before one
//!    without dates, then the one that comes first in the file.

mod digits;
mod explain;
mod order;
mod rule;
mod table;
mod trie;

pub use digits::{Digits, DigitsError, Wanted, block};
pub use explain::{Explained, Verdict, date};
pub use order::Turns;
pub use rule::{Failover, Kind, Rule, Strategy, Weighted};
pub use table::{Conflict, Entry, Found, RouteTable};
