-- Run after each of the project's files, in its session: says whether a transaction is open that has written something.
SELECT txid_current_if_assigned() IS NOT NULL AS slipway_open \gset
\if :slipway_open
\! echo open > /tmp/slipway_transaction
\else
\! echo closed > /tmp/slipway_transaction
\endif
