//! Rights in PostgreSQL: everything the server can grant is compared, or named as not compared.
