"""IACT: what the call centre did, by day and queue."""

import pymysql

# The MariaDB driver in pure Python, under the name that Django asks for.
pymysql.install_as_MySQLdb()
