//! MariaDB accounts: every attribute that can shut somebody out, and names as the server folds them.
