//! The packets, subjects and error shapes of the Moleculer backplane, as pure encode and decode.
